package e2e_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// The cluster's authority is replaced under traffic where two control plane nodes share a database: each is asked for some of the steps, they
// go on to give each other keys while one has a certificate of the next authority and the other one of the present, and both start anew
// with the next one alone.
func TestAuthorityIsReplacedWithTwoNodes(t *testing.T) {
	t.Parallel()
	private, public := recoveryPair(t)
	n := &nodes{Cluster: harness.New(t), t: t, db: postgresDatabase(t), recovery: private, creds: "/consumers/bob/key-auth"}
	upstream := harness.NewUpstream(t)
	for i := range 2 { // each with files of its own, as on two machines
		name := fmt.Sprintf("cp-%d", i)
		flags := append(slices.Clone(n.db.flags), "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)
		for _, own := range []string{"ca.crt", "crl.pem"} {
			replaced(t, n.Cert(name+"-"+own), n.Cert(own))
		}
		n.all = append(n.all, n.Node(name, append(flags, "--cluster-ca-cert", n.Cert(name+"-ca.crt"), "--cluster-crl", n.Cert(name+"-crl.pem"))...))
	}
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	n.agree(1)
	a, b := n.all[0], n.all[1]
	a.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	a.Admin().Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	a.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	secrets := []string{n.credential(a, "before")}
	n.Found(a)
	harness.Eventually(t, "the second node inviting", func() string {
		if _, err := n.TryCP("fleet", "invite", "--environment", "default", "--admin-url", "http://"+b.Listen); err != nil {
			return err.Error()
		}
		return ""
	})
	first, second, away := n.Joined("first", "default", a, b), n.Joined("second", "default", b, a), n.Joined("away", "default", a, b)
	for _, dp := range []*harness.DataPlane{first, second, away} {
		dp.Start()
		dp.Await(200, "/r")
	}
	away.Stop()
	traffic(t, first, "/r")
	traffic(t, second, "/r")
	old := n.rootOf("first")

	next := filepath.Join(n.Folder, "certs-2")
	n.CP("certs", "init", "--dir", next, "--after", n.Certs())
	n.eventually("the next authority being believed", b, "trust", filepath.Join(next, "ca.crt"))
	for _, cp := range n.all {
		for _, own := range []string{"ca.crt", "crl.pem"} {
			replaced(t, n.Cert(cp.Name+"-"+own), n.Cert(own), filepath.Join(next, own))
		}
	}
	n.rotate(a, b, 2)
	n.refuses("away", a, "create", "--dir", next)
	n.eventually("the next authority signing", a, "create", "--dir", next, "--force")
	for i, cp := range n.all { // one after the other: between them the nodes are of two authorities
		n.CP("certs", "issue", cp.Name, "--role", "control-plane", "--dir", next)
		before := n.shown(cp)
		replaced(t, n.Cert(cp.Name+".key"), filepath.Join(next, cp.Name+".key"))
		replaced(t, n.Cert(cp.Name+".crt"), filepath.Join(next, cp.Name+".crt"))
		harness.Eventually(t, cp.Name+" using its next certificate", func() string {
			if now := n.shown(cp); now == before || now == "" {
				return "it shows " + now
			}
			return ""
		})
		n.rotate(n.all[1-i], cp, 3+i)
		secrets = append(secrets, n.credential(cp, "between-"+cp.Name))
		n.reads(secrets...)
	}
	for _, name := range []string{"first", "second"} {
		n.awaitRoot(name, old)
	}
	n.refuses("away", b, "retire", old)
	away.Start()
	n.awaitRoot("away", old)
	n.eventually("the old authority being retired", b, "retire", old)
	for _, cp := range n.all {
		for _, own := range []string{"ca.crt", "crl.pem"} {
			replaced(t, n.Cert(cp.Name+"-"+own), filepath.Join(next, own))
		}
	}
	n.rotate(b, a, 5)
	for _, cp := range n.all { // the files of the former authority are nobody's any more
		cp.Stop()
		cp.Launch()
		cp.AwaitReady()
		n.agree(5)
	}
	n.rotate(a, b, 6)
	secrets = append(secrets, n.credential(b, "after"))
	n.reads(secrets...)
	for i, cp := range n.all {
		path := fmt.Sprintf("/after-%d", i)
		cp.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": path[1:], "paths": []string{path}})
		for _, dp := range []*harness.DataPlane{first, second, away} {
			dp.Await(200, path)
		}
	}
	late := n.Joined("late", "default", b, a)
	late.Start()
	late.Await(200, "/after-1")
}

// replaced writes a file anew as a whole, of others.
func replaced(t *testing.T, path string, parts ...string) {
	t.Helper()
	var text []byte
	for _, part := range parts {
		more, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, more...)
	}
	if err := os.WriteFile(path+".next", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}

// authority runs keepgate-cp fleet authority at a node.
func (n *nodes) authority(at *harness.ControlPlane, args ...string) (string, error) {
	return n.TryCP(append(append([]string{"fleet", "authority"}, args...), "--admin-url", "http://"+at.Listen)...)
}

func (n *nodes) eventually(what string, at *harness.ControlPlane, args ...string) {
	n.t.Helper()
	harness.Eventually(n.t, what, func() string {
		if output, err := n.authority(at, args...); err != nil {
			return fmt.Sprint(output, err)
		}
		return ""
	})
}

// refuses waits until who is named is all that a step waits for.
func (n *nodes) refuses(says string, at *harness.ControlPlane, args ...string) {
	n.t.Helper()
	harness.Eventually(n.t, fmt.Sprintf("a refusal of %v for %s", args, says), func() string {
		output, err := n.authority(at, args...)
		if err == nil {
			n.t.Fatalf("%v is not refused: %s", args, output)
		}
		if !strings.Contains(output+err.Error(), says) {
			return fmt.Sprint(output, err)
		}
		return ""
	})
}

// rootOf is below which authority the certificate of a data plane is, as far as a node knows.
func (n *nodes) rootOf(name string) (root string) {
	for _, cp := range n.all {
		all, err := cp.Admin().DataPlanes()
		if err != nil {
			continue
		}
		for _, d := range all {
			if now, _ := d["root"].(string); d["name"] == name && now != "" {
				root = now
			}
		}
	}
	return root
}

func (n *nodes) awaitRoot(name, old string) {
	n.t.Helper()
	harness.Eventually(n.t, name+" having a certificate of the next authority", func() string {
		if root := n.rootOf(name); root == old || root == "" {
			return "it is of root " + root
		}
		return ""
	})
}

// shown is the serial number of the certificate that a node shows data planes.
func (n *nodes) shown(cp *harness.ControlPlane) string {
	connection, err := tls.Dial("tcp", cp.Cluster, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return ""
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}
