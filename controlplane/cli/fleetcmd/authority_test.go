package fleetcmd_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/authorities"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// court is a control plane's authorities on a real database, behind the real room of the Admin API.
type court struct {
	t          *testing.T
	dir        string // of the CA's folder
	url        string
	authority  *authority.Authorities
	mu         sync.Mutex
	dataPlanes []authority.Holder
}

type unrecorded struct{}

func (unrecorded) Record(context.Context, string, string, ...string) error { return nil }

func newCourt(t *testing.T) *court {
	t.Helper()
	c := &court{t: t, dir: filepath.Join(t.TempDir(), "certs")}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	c.must(err)
	t.Cleanup(func() { store.Close() })
	c.must(store.Migrate(t.Context()))
	ring, err := keyring.Open(t.Context(), store, local.New(filepath.Join(t.TempDir(), "keyring.key")), keyringtest.Prover("court"), keyring.Options{})
	c.must(err)
	cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{}))
	c.must(err)
	rows := catalog.New(store, schema.New(plugins.All()), cipher, catalog.Options{Hashes: 1})
	c.must(rows.Start(t.Context()))
	source := c.source()
	c.authority = authority.New(authority.Deps{
		Store: store, Catalog: rows, Journal: unrecorded{}, Files: source, Organisation: "acme", Sealing: func() error { return nil },
		ControlPlanes: func(context.Context) ([]authority.Holder, error) { return nil, nil },
		DataPlanes: func(context.Context) ([]authority.Holder, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.dataPlanes, nil
		},
		Believe: func(believed, retired []*x509.Certificate, lists []*x509.RevocationList) error {
			return source.Believe(trust.Bundle{Authorities: believed, Retired: retired, Lists: lists})
		},
	}, authority.Options{})
	table := rest.NewTable()
	authorities.New(c.authority, "").Mount(table)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := rest.Answer{Status: http.StatusNotFound}
		if m, found := table.Find(r.URL.EscapedPath()); found && m.Handler(r.Method) != nil {
			request := rest.NewRequest(w, r, m)
			request.Privileged = true
			var err error
			if answer, err = m.Handler(r.Method)(request); err != nil {
				answer, _ = rest.Of(err)
			}
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *court) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// source is the control plane's own certificate, of a CA that it makes.
func (c *court) source() *mtls.Source {
	c.t.Helper()
	ca, err := certs.Create(c.dir, "acme", certs.Options{})
	c.must(err)
	defer ca.Close()
	issued, err := ca.Issue(certs.Spec{Role: identity.ControlPlane, Name: "cp"})
	c.must(err)
	dir, paths := c.t.TempDir(), certs.PathsIn(c.dir)
	files := mtls.Files{Cert: filepath.Join(dir, "cp.crt"), Key: filepath.Join(dir, "cp.key"), CA: paths.CA, CRL: paths.CRL}
	c.must(os.WriteFile(files.Cert, issued.CertPEM, 0o600))
	issued.KeyPEM.Reveal(func(key []byte) { c.must(os.WriteFile(files.Key, key, 0o600)) })
	source, err := mtls.Open(files)
	c.must(err)
	return source
}

// after makes the folder of the next CA.
func (c *court) after() string {
	c.t.Helper()
	former, err := certs.Open(c.dir)
	c.must(err)
	defer former.Close()
	dir := filepath.Join(c.t.TempDir(), "next")
	ca, err := certs.CreateAfter(former, dir, certs.Options{})
	c.must(err)
	c.must(ca.Close())
	return dir
}

func (c *court) run(args ...string) (string, error) {
	c.t.Helper()
	cmd := fleetcmd.Command()
	var out bytes.Buffer
	cmd.SetArgs(append(append([]string{"authority"}, args...), "--admin-url", c.url))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors = true
	err := cmd.ExecuteContext(c.t.Context())
	return out.String(), err
}

func (c *court) mustRun(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		c.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func wantSaid(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s does not say %q:\n%s", what, word, text)
		}
	}
}

// TestAuthorityCommands go from nothing to the second CA.
func TestAuthorityCommands(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	wantSaid(t, "list before all", c.mustRun("list"), "none", "authority create")
	wantSaid(t, "create", c.mustRun("create", "--dir", c.dir), "edge-", "certifies data planes, until")
	if _, _, err := c.authority.Certify(identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: "gw"}, key(t), time.Hour); err != nil {
		t.Error(err)
	}
	wantSaid(t, "list", c.mustRun("list"), "signing", "Keepgate cluster CA", "edge-")
	wantSaid(t, "list for programs", c.mustRun("list", "-o", "json"), `"edge_authorities":[{`)
	next := c.after()
	out, err := c.run("create", "--dir", next)
	if err == nil {
		t.Errorf("a CA signs that nobody believes: %s", out)
	} else {
		wantSaid(t, "the refusal", err.Error(), "nobody believes this authority", "authority trust")
	}
	wantSaid(t, "trust", c.mustRun("trust", filepath.Join(next, "ca.crt")), "trusted", "signing")
	c.mu.Lock()
	c.dataPlanes = []authority.Holder{{Name: "prod/away", Sequence: 1}}
	c.mu.Unlock()
	wantSaid(t, "list", c.mustRun("list"), "is not believed yet by data plane prod/away")
	if out, err = c.run("create", "--dir", next); err == nil || !strings.Contains(err.Error(), "prod/away") {
		t.Errorf("it does not wait: %s %v", out, err)
	}
	c.mustRun("create", "--dir", next, "--force", "--days", "90")
	ca, err := certs.ReadCertificate(filepath.Join(c.dir, "ca.crt"))
	c.must(err)
	old := authority.Fingerprint(ca)
	if out, err := c.run("retire", old); err == nil || !strings.Contains(err.Error(), "prod/away") {
		t.Errorf("it retires what is needed: %s %v", out, err)
	}
	wantSaid(t, "retire", c.mustRun("retire", old[:16], "--force"), "retired")
}

func TestAuthorityMistakes(t *testing.T) {
	t.Parallel()
	c := newCourt(t)
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"a folder that is none":     {[]string{"create", "--dir", t.TempDir()}, "there is no CA here"},
		"a life that is none":       {[]string{"create", "--dir", c.dir, "--days", "1"}, "2 to 3650"},
		"a file that is not there":  {[]string{"trust", "/no/ca.crt"}, "no such file"},
		"a list that is not there":  {[]string{"trust", filepath.Join(c.dir, "ca.crt"), "--crl", "/no/crl.pem"}, "no such file"},
		"a key for a certificate":   {[]string{"trust", filepath.Join(c.dir, "ca.key")}, "stays where it is"},
		"a fingerprint that is odd": {[]string{"retire", "../x"}, "refused"},
		"none at all":               {[]string{"retire"}, "arg"},
	} {
		if out, err := c.run(test.args...); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func key(t *testing.T) any {
	t.Helper()
	made, _, err := privatekey.New()
	if err != nil {
		t.Fatal(err)
	}
	return made.Public()
}
