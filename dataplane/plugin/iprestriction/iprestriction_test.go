package iprestriction_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/iprestriction"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

var local = netip.MustParseAddrPort("127.0.0.1:4000")

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		config, from string
		status       int
		message      string
	}{
		"allowed":              {`{allow: [192.0.2.0/24]}`, "192.0.2.1:1", 200, ""},
		"not allowed":          {`{allow: [192.0.2.0/24]}`, "198.51.100.1:1", 403, "IP address not allowed: 198.51.100.1"},
		"denied":               {`{deny: [198.51.100.1]}`, "198.51.100.1:1", 403, "IP address not allowed: 198.51.100.1"},
		"not denied":           {`{deny: [198.51.100.1]}`, "198.51.100.2:1", 200, ""},
		"denied and allowed":   {`{allow: [192.0.2.0/24], deny: [192.0.2.1]}`, "192.0.2.1:1", 403, "IP address not allowed: 192.0.2.1"},
		"IPv4 in IPv6":         {`{deny: [192.0.2.1]}`, "[::ffff:192.0.2.1]:1", 403, "IP address not allowed: 192.0.2.1"},
		"another status":       {`{deny: [192.0.2.1], status: 404, message: Not found}`, "192.0.2.1:1", 404, "Not found"},
		"a message with marks": {`{deny: [192.0.2.1], message: 'a "b" \ <c>'}`, "192.0.2.1:1", 403, `a "b" \ <c>`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := plugintest.New(t, iprestriction.Kind{})
			from := netip.MustParseAddrPort(test.from)
			g.Connection = func(ex *exchange.Exchange) { ex.Request.Remote = from }
			g.Configure(`services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]` + "\nplugins: [{name: ip-restriction, config: " + test.config + "}]")
			reply := g.Get("/")
			if reply.Status != test.status {
				t.Fatalf("%d %s", reply.Status, reply.Body)
			}
			var body struct{ Message string }
			if test.status != 200 && (json.Unmarshal([]byte(reply.Body), &body) != nil || body.Message != test.message) {
				t.Errorf("%q, want the message %q", reply.Body, test.message)
			}
		})
	}
}

// An address that nobody knows is not let in.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	instance, err := iprestriction.Kind{}.New(plugintest.Config(t, "ip-restriction", `{"deny":["192.0.2.1"]}`), plugin.Env{})
	if err != nil {
		t.Fatal(err)
	}
	ex := new(exchange.Exchange)
	ex.NeedSlots(4)
	instance.(plugin.Accesser).Access(ex, nil)
	if ex.Response.Status != 403 {
		t.Errorf("answered %d", ex.Response.Status)
	}
}
