package revocation_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/revocation"
)

func TestIntermediatesAreCheckedToo(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	above := pkitest.NewResponder(root)
	between := root.Below("between", pkitest.At(above.Serve().URL+"/crl", ""))
	below := pkitest.NewResponder(between)
	client := between.Issue("client", pkitest.At("", below.Serve().URL+"/ocsp"))
	verified := chainOf(client, between, root)

	if err := running(t, revocation.Options{}).Chain(verified, settings).Check(t.Context(), revocation.Strict, time.Now()); err != nil {
		t.Errorf("nothing is revoked: %v", err)
	}
	above.Revoke(between.Cert)
	room := running(t, revocation.Options{})
	chain := room.Chain(verified, settings)
	if err := chain.Check(t.Context(), revocation.Strict, time.Now()); !errors.Is(err, revocation.ErrRevoked) {
		t.Errorf("Strict: %v, want the intermediate to be revoked", err)
	}
	if err := chain.Check(t.Context(), revocation.IgnoreErrors, time.Now()); !errors.Is(err, revocation.ErrRevoked) {
		t.Errorf("IgnoreErrors: %v, want the intermediate to be revoked", err)
	}
	if err := room.Chain(verified[:2], settings).Check(t.Context(), revocation.Strict, time.Now()); err != nil {
		t.Errorf("the intermediate is the anchor, and nobody asks about anchors: %v", err)
	}
}

func TestCertificatesWithoutAnAddress(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	room := running(t, revocation.Options{})
	for name, edit := range map[string]pkitest.Edit{
		"none":             pkitest.At("", ""),
		"ldap and files":   pkitest.At("ldap://pki.test/cn=ca?certificateRevocationList", "file:///etc/passwd"),
		"nothing to parse": pkitest.At("http://[::1", "http:///ocsp"),
		"with a password":  pkitest.At("http://user:pw@pki.test/crl", ""),
		"endless":          pkitest.At("http://pki.test/"+strings.Repeat("x", 4096), ""),
	} {
		chain := room.Chain(chainOf(root.Issue("client", edit), root), settings)
		if err := chain.Check(t.Context(), revocation.IgnoreErrors, time.Now()); err != nil {
			t.Errorf("%s: IgnoreErrors: %v", name, err)
		}
		if err := chain.Check(t.Context(), revocation.Strict, time.Now()); err == nil || !strings.Contains(err.Error(), "no http address") {
			t.Errorf("%s: Strict: %v", name, err)
		}
	}
	if held := room.Report(); len(held) != 0 {
		t.Errorf("asks at %+v", held)
	}
}

func TestTheNextAddressIsTried(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	server := responder.Serve()
	dead := httptest.NewServer(nil)
	dead.Close()
	client := root.Issue("client", pkitest.At(dead.URL, ""), pkitest.At("ldap://x/", ""), pkitest.At(server.URL+"/crl", ""))
	room := running(t, revocation.Options{})
	if err := room.Chain(chainOf(client, root), settings).Check(t.Context(), revocation.Strict, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	client := root.Issue("client", pkitest.At("http://pki.test/crl", ""))
	idle := revocation.New(revocation.Options{}) // nobody runs it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := idle.Chain(chainOf(client, root), settings).Check(ctx, revocation.Strict, time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v", err)
	}
}

// One list serves all clients of an authority, and each setting has its own.
func TestWhatIsFetchedIsShared(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	at := pkitest.At(responder.Serve().URL+"/crl", "")
	room := running(t, revocation.Options{})
	for range 20 {
		if err := room.Chain(chainOf(root.Issue("client", at), root), settings).Check(t.Context(), revocation.Strict, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if got := responder.Lists.Load(); got != 1 {
		t.Errorf("the list was fetched %d times", got)
	}
	other := settings
	other.Timeout++
	if err := room.Chain(chainOf(root.Issue("client", at), root), other).Check(t.Context(), revocation.Strict, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := responder.Lists.Load(); got != 2 {
		t.Errorf("the list was fetched %d times, want another one for other settings", got)
	}
	held := room.Report()
	if len(held) != 2 || held[0].Kind != "crl" || held[0].Failure != "" || time.Until(held[0].NextUpdate) < 50*time.Minute {
		t.Errorf("Report = %+v", held)
	}
}

func TestProxies(t *testing.T) {
	t.Parallel()
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	seen := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.RequestURI
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		responder.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := settings
	s.HTTPProxy, s.HTTPSProxy = through.Host, through.Host
	room := running(t, revocation.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != through.Host {
			t.Errorf("dials %s beside the proxy", address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	for at, want := range map[string]string{
		"http://pki.test/crl":  "GET http://pki.test/crl",
		"https://pki.test/crl": "CONNECT pki.test:443",
	} {
		err := room.Chain(chainOf(root.Issue("client", pkitest.At(at, "")), root), s).Check(t.Context(), revocation.Strict, time.Now())
		if len(seen) != 1 {
			t.Fatalf("%s: the proxy was asked %d times, and %v", at, len(seen), err)
		}
		if got := <-seen; got != want || (err == nil) != strings.HasPrefix(at, "http:") {
			t.Errorf("%s: the proxy got %q, and %v", at, got, err)
		}
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	root := pkitest.Root(t, "root")
	responder := pkitest.NewResponder(root)
	server := responder.Serve()
	client := root.Issue("client", pkitest.At(server.URL+"/crl", server.URL+"/ocsp"))
	room := running(t, revocation.Options{})
	chain := room.Chain(chainOf(client, root), settings)
	if err := chain.Check(t.Context(), revocation.Strict, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []revocation.Mode{revocation.Skip, revocation.IgnoreErrors, revocation.Strict} {
		if got := testing.AllocsPerRun(1000, func() {
			if chain.Check(context.Background(), mode, time.Now()) != nil {
				t.Error("refused")
			}
		}); got != 0 {
			t.Errorf("mode %d: %v allocations", mode, got)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	root := pkitest.Root(b, "root")
	responder := pkitest.NewResponder(root)
	server := responder.Serve()
	client := root.Issue("client", pkitest.At(server.URL+"/crl", server.URL+"/ocsp"))
	chain := running(b, revocation.Options{}).Chain(chainOf(client, root), settings)
	if err := chain.Check(b.Context(), revocation.Strict, time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	now := time.Now()
	for b.Loop() {
		if err := chain.Check(context.Background(), revocation.Strict, now); err != nil {
			b.Fatal(err)
		}
	}
}
