package mtlsauth_test

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/pkitest"
)

// Reasons are for operators alone.
func TestReasonsAreLogged(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root, stranger := pkitest.Root(t, "ca"), pkitest.Root(t, "stranger")
	g.Configure(setting{authorities: []*pkitest.Authority{root}, more: aliceAndBob}.file())
	unwanted, nobody := stranger.Issue("mallory"), root.Issue("nobody")
	g.client("unwanted", unwanted)
	g.client("nobody", nobody)
	for range 3 {
		if reply := g.as("unwanted"); strings.Contains(reply.Body, "authority") || strings.Contains(reply.Body, "mallory") {
			t.Errorf("the client hears why: %s", reply.Body)
		}
	}
	said := g.log.String()
	for _, want := range []string{"a client certificate was refused", "unknown authority", "CN=mallory", "CN=stranger", "serial=" + unwanted.Cert.SerialNumber.Text(16), "plugin=mtls-auth"} {
		if !strings.Contains(said, want) {
			t.Errorf("the log says %q, want %q", said, want)
		}
	}
	if got := strings.Count(said, "mallory"); got != 1 {
		t.Errorf("said %d times, want it once as long as it is remembered", got)
	}
	if g.as("nobody"); !strings.Contains(g.log.String(), "belongs to no consumer") {
		t.Errorf("the log does not say that the certificate is nobody's:\n%s", g.log)
	}
}

func TestRefusalsFillNoDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := plugintest.NewLog()
		root := pkitest.Root(t, "ca")
		d, nobody := newDirect(t, mtlsauth.New(log.Logger()), &pluginv1.MtlsAuth{}, root), connected(root.Issue("nobody"))
		for range 500 {
			d.admits(nobody, time.Now())
		}
		if got := strings.Count(log.String(), "CN=nobody"); got != 100 {
			t.Errorf("500 refusals at once make %d lines", got)
		}
		long := connected(root.Issue("", func(c *x509.Certificate) {
			c.Subject.Organization = []string{strings.Repeat("x", 100_000)}
			c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 100_000)
		}))
		time.Sleep(time.Minute)
		before := len(log.String())
		if d.admits(long, time.Now()); len(log.String())-before > 4000 {
			t.Errorf("a refusal makes a line of %d bytes", len(log.String())-before)
		}
		d.admits(nobody, time.Now())
		if !strings.Contains(log.String(), "untold=400") {
			t.Error("the log does not say how many it leaves out")
		}
	})
}
