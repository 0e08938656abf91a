package secretbackend

import (
	"context"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// at reads a server's store of version 2 by a token.
func at(t *testing.T, s *vaulttest.Server, token string) *hcv {
	t.Helper()
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := vaultclient.New(vaultclient.Options{Address: s.URL, Roots: roots, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := Vault(client, "secret", true, func(context.Context) (*vaultclient.Session, error) {
		return client.WithToken(secret.Take([]byte(token)))
	})
	t.Cleanup(b.Close)
	return b.(*hcv)
}

func TestTokensAreRenewed(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	server.Policy("app", `path "secret/data/app" { capabilities = ["read"] }`)
	h := at(t, server, server.Token(time.Hour, "default", "app"))
	if value := got(t, h, "{vault://hcv/app/k}"); value != "v" {
		t.Errorf("read %q", value)
	}
	if left := time.Until(h.renewal); left < 29*time.Minute || left > 30*time.Minute {
		t.Errorf("the token is renewed in %v", left)
	}
	server.Advance(40 * time.Minute)
	h.renewal = time.Now()
	for range 2 {
		if value := got(t, h, "{vault://hcv/app/k}"); value != "v" {
			t.Errorf("read %q", value)
		}
		server.Advance(40 * time.Minute)
		h.renewal = time.Now()
	}
	renewed := 0
	for _, r := range server.Requests() {
		if r.Path == "auth/token/renew-self" && r.Status == 200 {
			renewed++
		}
	}
	if renewed != 2 {
		t.Errorf("renewed %d times", renewed)
	}
}

func TestWhoeverIsDeniedIsToldApartFromADeadToken(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	h := at(t, server, server.Token(time.Hour, "default"))
	_, err := h.Read(t.Context(), "app", 0, []string{"k"})
	if fault.KindOf(err) != fault.Denied || Coarse(err) != "it cannot be read: denied" {
		t.Errorf("by a token without a policy: %v (%s)", err, Coarse(err))
	}
	server.Advance(2 * time.Hour)
	_, err = h.Read(t.Context(), "app", 0, []string{"k"})
	if fault.KindOf(err) != fault.Denied || Coarse(err) != "it refuses the login" {
		t.Errorf("by a token that is over: %v (%s)", err, Coarse(err))
	}
}

// A token that is looked at again and again, each time for a moment, is renewed in the second half of its life.
func TestWhenTokensAreRenewed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		token vaultclient.Token
		in    time.Duration
	}{
		"new":                         {vaultclient.Token{TTL: time.Hour, Life: time.Hour, Renewable: true}, 30 * time.Minute},
		"later":                       {vaultclient.Token{TTL: 40 * time.Minute, Life: time.Hour, Renewable: true}, 10 * time.Minute},
		"in the second half":          {vaultclient.Token{TTL: 20 * time.Minute, Life: time.Hour, Renewable: true}, -10 * time.Minute},
		"of a life that is not known": {vaultclient.Token{TTL: 20 * time.Minute, Renewable: true}, 10 * time.Minute},
	} {
		if in := time.Until(renewalOf(test.token)); (test.in - in).Abs() > time.Minute {
			t.Errorf("%s: renewed in %v, want %v", name, in, test.in)
		}
	}
	for _, never := range []vaultclient.Token{{}, {Renewable: true}, {TTL: time.Hour, Life: time.Hour}} {
		if at := renewalOf(never); !at.IsZero() {
			t.Errorf("%+v is renewed at %v", never, at)
		}
	}
}

// What a server says of a token is not needed to read.
func TestAServerMayKeepSilentAboutTheToken(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 500, 503} {
		server := vaulttest.Start(t)
		server.Put("app", map[string]string{"k": "v"})
		h := at(t, server, server.Root)
		server.Fault(vaulttest.Fault{Path: "auth/token/lookup-self", Status: status})
		if value := got(t, h, "{vault://hcv/app/k}"); value != "v" {
			t.Errorf("where it answers %d it reads %q", status, value)
		}
	}
}
