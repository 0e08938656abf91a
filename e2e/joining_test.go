package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// From an invitation to traffic, with one command at the edge; and what a token does not do.
func TestInviteJoinTraffic(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/environments", harness.Document{"name": "prod"})
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	if output, err := c.TryCP("fleet", "invite", "--environment", "prod", "--admin-url", "http://"+cp.Listen); err == nil || !strings.Contains(output+err.Error(), "authority create") {
		t.Errorf("an invitation before there is an authority does not say what is missing: %s %v", output, err)
	}
	c.Found(cp)

	token := c.Invite(cp, "prod", "--name", "edge-1")
	dp := c.Unjoined("edge-1", cp)
	join := func(dp *harness.DataPlane, token string, args ...string) (string, error) {
		return c.TryDP(append([]string{"join", "--prefix", dp.Prefix, "--control-plane", cp.Cluster, "--token", token}, args...)...)
	}
	if output, err := join(dp, token); err != nil {
		t.Fatalf("joining: %v\n%s", err, output)
	}
	dp.Start()
	dp.Await(200, "/r")
	keys := 0
	err := filepath.WalkDir(filepath.Join(dp.Prefix, "cluster"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".key") {
			keys++
			if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v (%v)", path, info.Mode(), err)
			}
		}
		return err
	})
	if err != nil || keys == 0 {
		t.Errorf("the node's key: %d files, %v", keys, err)
	}
	page, err := admin.DataPlanes()
	if err != nil || len(page) != 1 || page[0]["environment"] != "prod" || page[0]["name"] != "edge-1" {
		t.Errorf("the fleet: %v %v", page, err)
	}

	other := c.Unjoined("edge-2", cp)
	refused := func(what, output string, err error, words ...string) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was let in: %s", what, output)
			return
		}
		for _, word := range words {
			if !strings.Contains(output+err.Error(), word) {
				t.Errorf("%s is not told %q: %s %v", what, word, output, err)
			}
		}
		if _, err := os.Stat(filepath.Join(other.Prefix, "cluster", "current")); err == nil {
			t.Errorf("%s has a certificate", what)
		}
	}
	output, err := join(other, token)
	refused("a token that was used", output, err, "used")
	bound := c.Invite(cp, "prod", "--name", "edge-9")
	output, err = join(other, bound, "--name", "edge-2")
	refused("another name than the token's", output, err, "edge-9")
	parts := strings.Split(c.Invite(cp, "prod"), ".")
	parts[3] = strings.Repeat("A", len(parts[3]))
	output, err = join(other, strings.Join(parts, "."))
	refused("a control plane that is not the token's", output, err)
	parts = strings.Split(c.Invite(cp, "prod"), ".")
	parts[2] = strings.Repeat("B", len(parts[2]))
	output, err = join(other, strings.Join(parts, "."))
	refused("a guessed token", output, err)
	for _, text := range []string{"", "kgj1", "kgj1.a.b.c", "kgj2." + strings.Join(parts[1:], ".")} {
		output, err = join(other, text)
		refused(fmt.Sprintf("the token %q", text), output, err)
	}
	output, err = join(dp, c.Invite(cp, "prod", "--name", "edge-1"))
	if err == nil {
		t.Errorf("joining over a living enrolment without a word: %s", output)
	}
	if verified, err := c.TryCP("audit", "verify", "--ca", c.Cert("ca.crt"), "--crl", c.Cert("crl.pem"), "--admin", "http://"+cp.Listen); err != nil {
		t.Errorf("the journal: %v\n%s", err, verified)
	}
	c.NoSecretInLogs(token, bound)

	// Without the control plane, and after it.
	cp.Stop()
	dp.Stop()
	dp.Start()
	dp.Await(200, "/r")
	cp.Start()
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r2", "paths": []string{"/r2"}})
	dp.Await(200, "/r2")
}
