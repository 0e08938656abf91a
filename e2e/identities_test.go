package e2e_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Two services at one address under two identities: however their requests mix, the upstream sees the right one each
// time; and a new certificate is used at once.
func TestUpstreamSeesTheRightIdentity(t *testing.T) {
	t.Parallel()
	c, keys := harness.New(t), newPKI(t)
	keys.authority("ca")
	keys.issue("ca", "api", "/CN=api", "IP:127.0.0.1")
	for _, name := range []string{"red", "blue", "renewed"} {
		keys.issue("ca", name, "/CN="+name, "")
	}
	api := newIdentifyingAPI(t, keys, "api", "ca")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp, "--ssl-trusted-certificate", keys.file("ca.crt"))
	dp.Launch()
	file := func(red, blue string) string {
		text := "_format_version: \"3.0\"\ncertificates:\n"
		for i, name := range []string{red, blue} {
			text += fmt.Sprintf("- id: c0000000-0000-4000-8000-00000000000%d\n  cert: |\n      %s\n  key: |\n      %s\n",
				i, indented(keys.read(name+".crt")), indented(keys.read(name+".key")))
		}
		text += "services:\n"
		for i, name := range []string{"red", "blue"} {
			text += fmt.Sprintf("- {name: %s, url: %q, client_certificate: c0000000-0000-4000-8000-00000000000%d, routes: [{name: %s, paths: [/%s]}]}\n", name, api.url(), i, name, name)
		}
		return text
	}
	cp.Admin().Push(file("red", "blue"))
	dp.Await(200, "/red")
	dp.Await(200, "/blue")
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 125 {
				name := []string{"red", "blue"}[(worker+i)%2]
				answer, err := harness.Get("http://" + dp.Proxy + "/" + name)
				if err != nil || answer.Status != 200 || answer.Body != name {
					t.Errorf("/%s: %d %q, %v", name, answer.Status, answer.Body, err)
					return
				}
			}
		})
	}
	wg.Wait()
	cp.Admin().Push(file("renewed", "blue"))
	harness.Eventually(t, "the renewed certificate", func() string {
		if answer := dp.MustGet("/red"); answer.Body != "renewed" {
			return fmt.Sprintf("%d %q", answer.Status, answer.Body)
		}
		return ""
	})
	for range 20 { // no connection of the old identity is left to be used
		if answer := dp.MustGet("/red"); answer.Body != "renewed" {
			t.Errorf("after the renewal: %d %q", answer.Status, answer.Body)
		}
		if answer := dp.MustGet("/blue"); answer.Body != "blue" {
			t.Errorf("beside the renewal: %d %q", answer.Status, answer.Body)
		}
	}
	c.NoSecretInLogs(keys.secret("red"), keys.secret("blue"), keys.secret("renewed"))
	nowhere(t, dp.Store(), keys.secret("red"), keys.secret("renewed"))
}
