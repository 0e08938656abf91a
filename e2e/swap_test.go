package e2e_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/load"
)

// A hundred configurations, each changing where requests go, the service, its routes and its plugins, swap in under traffic, and not
// one request or connection is lost.
func TestNoRequestIsLostToAChange(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstreams := []*harness.Upstream{harness.NewUpstream(t), harness.NewUpstream(t)}
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	file := func(i int) string {
		return fmt.Sprintf(`_format_version: "3.0"
upstreams:
- {name: pool, targets: [{target: %q, weight: %d}, {target: %q, weight: %d}]}
services:
- name: echo
  host: pool
  retries: %d
  plugins: [{name: key-auth, config: {key_names: [apikey, key-%d]}}]
  routes:
  - {name: all, paths: [/, /path-%d]}
  - {name: of-%d, paths: [/only-%d]}
consumers:
- {username: alice, tags: [tag-%d], keyauth_credentials: [{key: %s}]}
`, upstreams[0].Address(), i%2, upstreams[1].Address(), 1-i%2, i%5, i, i, i, i, i, keyCanary)
	}
	cp.Admin().Push(file(0))
	dp.Await(200, "/", "apikey", keyCanary)

	ended := make(chan struct{})
	type outcome struct {
		result load.Result
		err    error
	}
	outcomes := make(chan outcome, 1)
	go func() {
		result, err := load.Run(load.Plan{
			Address: netip.MustParseAddrPort(dp.Proxy), Connections: 8, For: time.Hour, Until: ended, Core: -1,
			Request: []byte("GET / HTTP/1.1\r\nHost: gate.example\r\napikey: " + keyCanary + "\r\n\r\n"),
		})
		outcomes <- outcome{result, err}
	}()
	const pushes = 100
	for i := 1; i <= pushes; i++ {
		cp.Admin().Push(file(i))
	}
	dp.Await(200, fmt.Sprintf("/only-%d", pushes), "apikey", keyCanary)
	close(ended)
	o := <-outcomes
	if o.err != nil || o.result.Failures != 0 || o.result.Requests < pushes {
		t.Errorf("%d requests, %d failures, %v\n%s", o.result.Requests, o.result.Failures, o.err, o.result.Sample)
	}
	t.Logf("%d requests during %d changes", o.result.Requests, pushes)
}
