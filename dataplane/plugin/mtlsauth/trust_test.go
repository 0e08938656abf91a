package mtlsauth_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/pkitest"
)

const aliceAndBob = "consumers: [{username: alice}, {username: bob}]"

// Without allow_partial_chain a chain has to lead to a configured certificate that signs itself; with it any configured one will do.
func TestPartialChains(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "root")
	between := root.Below("between")
	below := between.Below("below")
	direct, deep := between.Issue("alice"), below.Issue("alice")
	bare := deep
	bare.Between = nil
	g.client("direct", direct)
	g.client("deep", deep)
	g.client("bare", bare)
	g.client("of the root", root.Issue("alice"))
	for name, test := range map[string]struct {
		authorities []*pkitest.Authority
		config      string
		admitted    string
	}{
		"the root":                         {[]*pkitest.Authority{root}, "", "direct, deep, of the root"},
		"the root, partial":                {[]*pkitest.Authority{root}, "allow_partial_chain: true", "direct, deep, of the root"},
		"the middle alone":                 {[]*pkitest.Authority{between}, "", ""},
		"the middle alone, partial":        {[]*pkitest.Authority{between}, "allow_partial_chain: true", "direct, deep"},
		"the last alone, partial":          {[]*pkitest.Authority{below}, "allow_partial_chain: true", "deep, bare"},
		"all of them":                      {[]*pkitest.Authority{root, between, below}, "", "direct, deep, bare, of the root"},
		"the last and the root, no middle": {[]*pkitest.Authority{root, below}, "", "direct, deep, of the root"},
	} {
		g.Configure(setting{authorities: test.authorities, config: test.config, more: aliceAndBob}.file())
		for _, client := range []string{"direct", "deep", "bare", "of the root"} {
			want := 401
			for one := range strings.SplitSeq(test.admitted, ", ") {
				if one == client {
					want = 200
				}
			}
			if reply := g.as(client); reply.Status != want {
				t.Errorf("%s: %s is answered %d, want %d\n%s", name, client, reply.Status, want, g.log)
			}
		}
	}
}

// A credential is pinned to a configured certificate in the verified chain, whichever stands above the leaf.
func TestPinnedToAnIntermediate(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	root := pkitest.Root(t, "root")
	between := root.Below("between")
	g.client("direct", root.Issue("alice"))
	g.client("below", between.Issue("alice"))
	credentials := `consumers:
- {username: far, mtls_auth_credentials: [{subject_name: alice, ca_certificate: {id: ` + firstID + `}}]}
- {username: near, mtls_auth_credentials: [{subject_name: alice, ca_certificate: {id: ` + secondID + `}}]}`
	for name, test := range map[string]struct {
		trusted       []string
		direct, below string
	}{
		"both are trusted":    {nil, "far", "near"},
		"the root is trusted": {[]string{firstID}, "far", "far"},
	} {
		g.Configure(setting{authorities: []*pkitest.Authority{root, between}, trusted: test.trusted, more: credentials}.file())
		for client, want := range map[string]string{"direct": test.direct, "below": test.below} {
			if got := g.admits(client).Header.Get("X-Consumer-Username"); got != want {
				t.Errorf("%s: %s is taken for %s, want %s", name, client, got, want)
			}
		}
	}
}

// Whatever changes is in force at the next request of a connection that is there already.
func TestChangesAreSeenAtTheNextRequest(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	first, second := pkitest.Root(t, "first"), pkitest.Root(t, "second")
	g.client("alice", first.Issue("alice"))
	trusting := func(config, more string, authorities ...*pkitest.Authority) string {
		return setting{authorities: authorities, config: config + "cache_ttl: 3600", more: more}.file()
	}
	for range 3 {
		g.Configure(trusting("", aliceAndBob, first))
		g.admits("alice")
		g.Configure(trusting("", aliceAndBob, second)) // another certificate under the same id
		g.refuses("alice", failed)
		g.Configure(trusting("", aliceAndBob, second, first))
		g.admits("alice")
		g.Configure(trusting("", "consumers: [{username: bob}]", first))
		g.refuses("alice", failed)
		g.Configure(trusting("", "consumers: [{username: bob, mtls_auth_credentials: [{subject_name: alice}]}]", first))
		if echo := g.admits("alice"); echo.Header.Get("X-Consumer-Username") != "bob" {
			t.Errorf("taken for %s", echo.Header.Get("X-Consumer-Username"))
		}
		g.Configure(trusting("consumer_by: [], ", aliceAndBob, first))
		g.refuses("alice", failed)
	}
	g.Configure(setting{authorities: []*pkitest.Authority{first}, trusted: []string{firstID, thirdID}, more: aliceAndBob}.file())
	g.admits("alice")
	if !strings.Contains(g.log.String(), "CA certificates of a plugin do not exist") {
		t.Errorf("nobody hears of the certificate that does not exist:\n%s", g.log)
	}
	g.Configure(setting{trusted: []string{thirdID}, authorities: []*pkitest.Authority{second}, more: aliceAndBob}.file())
	g.refuses("alice", failed)
}

// until waits for an answer to turn out as it should.
func (g *gate) until(client string, status int) {
	g.t.Helper()
	for from := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		reply := g.as(client)
		if reply.Status == status {
			return
		}
		if time.Since(from) > patience {
			g.t.Fatalf("%s: %d %s, want %d; the log says:\n%s", client, reply.Status, reply.Body, status, g.log)
		}
	}
}

func TestRevokedCertificates(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	server := responder.Serve()
	broken := pkitest.NewResponder(root)
	broken.Change(func(r *pkitest.Responder) {
		r.Instead = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	})
	nowhere := broken.Serve()
	between := root.Below("between", pkitest.At(server.URL+"/crl", ""))
	pairs := map[string]pkitest.Pair{
		"by response":            root.Issue("alice", pkitest.At("", server.URL+"/ocsp")),
		"by list":                root.Issue("alice", pkitest.At(server.URL+"/crl", "")),
		"good by response":       root.Issue("alice", pkitest.At("", server.URL+"/ocsp")),
		"good by list":           root.Issue("alice", pkitest.At(server.URL+"/crl", "")),
		"below a revoked":        between.Issue("alice", pkitest.At("", "")),
		"nobody knows":           root.Issue("alice", pkitest.At(nowhere.URL+"/crl", nowhere.URL+"/ocsp")),
		"nobody is asked":        root.Issue("alice"),
		"good by list after all": root.Issue("alice", pkitest.At(server.URL+"/crl", nowhere.URL+"/ocsp")),
	}
	responder.Revoke(pairs["by response"].Cert, pairs["by list"].Cert, between.Cert)
	want := map[string][2]int{ // IGNORE_CA_ERROR, STRICT
		"by response": {401, 401}, "by list": {401, 401}, "below a revoked": {401, 401},
		"good by response": {200, 200}, "good by list": {200, 200}, "good by list after all": {200, 200},
		"nobody knows": {200, 401}, "nobody is asked": {200, 401},
	}
	for n, mode := range []string{"IGNORE_CA_ERROR", "STRICT"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.Configure(setting{authorities: []*pkitest.Authority{root}, config: "revocation_check_mode: " + mode, more: aliceAndBob}.file())
			for name, pair := range pairs {
				g.client(name, pair)
				if mode == "STRICT" {
					if reply := g.as(name); reply.Status != want[name][n] {
						t.Errorf("at first sight: %s: %d, want %d", name, reply.Status, want[name][n])
					}
				}
				g.until(name, want[name][n])
			}
			g.Configure(setting{authorities: []*pkitest.Authority{root}, config: "revocation_check_mode: SKIP", more: aliceAndBob}.file())
			for name := range pairs {
				g.admits(name)
			}
			if n == 1 && !strings.Contains(g.log.String(), "the certificate is revoked") {
				t.Errorf("the log does not say why:\n%s", g.log)
			}
		})
	}
}

// A certificate that is taken back while its connection is open loses it with the next refresh.
func TestRevokedWhileConnected(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	at := pkitest.At("", responder.Serve().URL+"/ocsp")
	alice := root.Issue("alice", at)
	g := newGate(t)
	g.client("alice", alice)
	g.Configure(setting{authorities: []*pkitest.Authority{root}, config: "cert_cache_ttl: 300, revocation_check_mode: STRICT, cache_ttl: 3600", more: aliceAndBob}.file())
	g.admits("alice")
	responder.Revoke(alice.Cert)
	g.until("alice", 401)
	for range 10 {
		g.refuses("alice", failed)
	}
}

func TestAnotherWayAroundARevokedIntermediate(t *testing.T) {
	t.Parallel()
	first, second := pkitest.Root(t, "first"), pkitest.Root(t, "second")
	responders := []*pkitest.Responder{pkitest.NewResponder(first), pkitest.NewResponder(second)}
	one := first.Below("between", pkitest.At(responders[0].Serve().URL+"/crl", ""))
	other := second.Again(one, pkitest.At(responders[1].Serve().URL+"/crl", ""))
	alice := one.Issue("alice")
	alice.Between = []*x509.Certificate{one.Cert, other.Cert}
	g := newGate(t)
	g.client("alice", alice)
	file := func(ttl int) string {
		return setting{authorities: []*pkitest.Authority{first, second}, config: fmt.Sprintf("cache_ttl: %d", ttl), more: `consumers:
- {username: a, mtls_auth_credentials: [{subject_name: alice, ca_certificate: {id: ` + firstID + `}}]}
- {username: b, mtls_auth_credentials: [{subject_name: alice, ca_certificate: {id: ` + secondID + `}}]}`}.file()
	}
	g.Configure(file(60))
	by := g.admits("alice").Header.Get("X-Consumer-Username")
	intermediates := map[string]*x509.Certificate{"a": one.Cert, "b": other.Cert}
	responders[strings.Index("ab", by)].Revoke(intermediates[by])
	g2 := newGate(t)
	g2.client("alice", alice)
	g2.Configure(file(61))
	for from := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if got := g2.admits("alice").Header.Get("X-Consumer-Username"); got != by {
			break // proven by the other authority, whose word counts now
		}
		if time.Since(from) > patience {
			t.Fatalf("still proven by the revoked intermediate:\n%s", g2.log)
		}
	}
}
