package vaults

import (
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// asked is one reference of a node, and the Vault that it leads to.
type asked struct {
	server *vaulttest.Server
	vaults Settings
	to     settings.Reference
	roots  Roots
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	a := &asked{server: vaulttest.Start(t)}
	a.server.Policy("reads", `path "secret/data/db" { capabilities = ["read"] }`)
	at, err := url.Parse(a.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		Vaults Settings
		One    secret.Bytes `key:"pg_password" help:"h"`
	}
	loaded, err := settings.Load(&into, settings.Sources{Flags: map[string]string{
		"vault_hcv_host": at.Hostname(), "vault_hcv_port": at.Port(), "vault_hcv_kv": "v2", "pg_password": "{vault://hcv/db/password}",
	}})
	if err != nil {
		t.Fatal(err)
	}
	a.vaults, a.to = into.Vaults, loaded.References()[0]
	a.roots = func() (*x509.CertPool, error) {
		return values.Roots("ssl_trusted_certificate", []string{a.server.CAFile})
	}
	return a
}

func (a *asked) want(t *testing.T, value, said string) {
	t.Helper()
	got, err := a.vaults.again(t.Context(), a.to, a.roots)
	if text(got) != value || (said == "") != (err == nil) || err != nil && (!strings.HasPrefix(err.Error(), "pg_password: ") || !strings.Contains(err.Error(), said)) {
		t.Errorf("again = %q, %v; want %q, %q", text(got), err, value, said)
	}
}

// Every question logs in anew, with the service account's token of that moment, and logs out.
func TestQuestionsLeaveNoLogin(t *testing.T) {
	t.Parallel()
	a := newAsked(t)
	file := filepath.Join(t.TempDir(), "token")
	account := func(jwt string) {
		t.Helper()
		a.server.Role("default", jwt, time.Hour, "reads")
		if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.vaults.AuthMethod, a.vaults.KubeTokenFile = Kubernetes, file
	account("first.jwt")
	a.server.Put("db", map[string]string{"password": "one"})
	a.want(t, "one", "")
	a.server.Put("db", map[string]string{"password": "two"})
	account("second.jwt")
	a.want(t, "two", "")
	a.server.Put("db", map[string]string{"other": "x"})
	a.want(t, "", "the secret has no such member; put the value there")
	a.server.Seal(true)
	a.want(t, "", "the server is sealed: unseal it; wait until it answers")
	a.server.Seal(false)
	a.server.Delete("db", 3)
	a.want(t, "", "there is nothing by that name; mend the reference")
	a.server.Undelete("db", 3)
	a.server.Put("db", map[string]string{"password": "three"})
	a.want(t, "three", "")
	a.server.Down()
	a.want(t, "", "connection refused; mend vault_hcv_host and vault_hcv_port, or wait until it answers there")
	if n := a.server.Tokens(); n != 0 {
		t.Errorf("%d logins are left", n)
	}
}

// A token that somebody made lives on by being used.
func TestQuestionsRenewTheToken(t *testing.T) {
	t.Parallel()
	a := newAsked(t)
	a.vaults.Token = secret.Take([]byte(a.server.Token(time.Hour, "default", "reads")))
	a.server.Put("db", map[string]string{"password": "one"})
	renewed := func() (n int) {
		for _, r := range a.server.Requests() {
			if r.Path == "auth/token/renew-self" {
				n++
			}
		}
		return n
	}
	for range 3 {
		a.server.Advance(20 * time.Minute)
		a.want(t, "one", "")
		if n := renewed(); n != 0 {
			t.Errorf("renewed %d times in the first half of its life", n)
		}
		a.server.Advance(20 * time.Minute)
		a.want(t, "one", "")
		if n := renewed(); n != 1 {
			t.Errorf("renewed %d times in the second half of its life", n)
		}
	}
	a.server.Advance(2 * time.Hour)
	a.want(t, "", "the server does not know the token, it has expired, or its policies allow neither this nor looking itself up; mend vault_hcv_token or vault_hcv_auth_method")
}
