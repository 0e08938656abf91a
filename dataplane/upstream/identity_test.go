package upstream_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// service is an HTTPS server that says who it was and whom it saw.
type service struct {
	net.Listener
	connections atomic.Int64 // open ones
}

// serve starts one. Certificates are chosen by server name where there are several.
func serve(t testing.TB, config *tls.Config) *service {
	t.Helper()
	s := &service{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Resumed", fmt.Sprint(r.TLS.DidResume))
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		fmt.Fprintf(w, "%s as %s", who, r.TLS.ServerName)
	}))
	server.EnableHTTP2 = len(config.NextProtos) > 0
	server.TLS = config
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.connections.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.connections.Add(-1)
		}
	}
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.Listener = server.Listener
	return s
}

func link(s *upstream.Security) upstream.Link { return upstream.Link{Security: s} }

// Two services on one address, each with its certificate, authorities and server name, asked in turn and at once.
func TestEveryRequestBearsItsOwnIdentity(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]upstream.Protocol{"HTTP/1.1": upstream.HTTP1, "HTTP/2": upstream.Either} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rootA, rootB, clients := authority(t, nil, "A"), authority(t, nil, "B"), authority(t, nil, "clients")
			config := &tls.Config{
				Certificates: []tls.Certificate{*named(t, rootA, "a.test").tls(), *named(t, rootB, "b.test").tls()},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool(clients),
			}
			if protocol == upstream.Either {
				config.NextProtos = []string{"h2", "http/1.1"}
			}
			origin := serve(t, config)
			pools := newPools(t, client.Options{})
			of := map[string]*upstream.Pool{}
			for name, root := range map[string]*pair{"a": rootA, "b": rootB} {
				s := &upstream.Security{ServerName: name + ".test", Verify: true, Roots: pool(root), RootsKey: name, Identity: upstream.NewIdentity(named(t, clients, "client "+name).tls())}
				of[name] = pools.Pool(addrOf(origin), upstream.Link{Owner: name, Protocol: protocol, Security: s})
			}
			var wg sync.WaitGroup
			var wrong atomic.Int64
			for worker := range 10 {
				wg.Go(func() {
					for i := range 100 {
						who := "ab"[(worker+i)%2 : (worker+i)%2+1]
						a := ask(of[who], client.Head{Host: who + ".test"})
						if want := fmt.Sprintf("client %s as %s.test", who, who); a.err != nil || a.body != want || protocol == upstream.Either && a.header["X-Proto"] != "HTTP/2.0" {
							if wrong.Add(1) < 5 {
								t.Errorf("%s got %+v", who, a)
							}
						}
					}
				})
			}
			wg.Wait()
			if n := wrong.Load(); n > 0 {
				t.Errorf("%d of 1000 requests went wrong", n)
			}
		})
	}
}

// How an upstream's certificate is judged, by either protocol.
func TestVerification(t *testing.T) {
	t.Parallel()
	root, stranger := authority(t, nil, "root"), authority(t, nil, "stranger")
	upper := authority(t, root, "upper")
	lower := authority(t, upper, "lower")
	bare := issue(t, root, x509.Certificate{Subject: pkix.Name{CommonName: "a.test"}})
	old := issue(t, root, x509.Certificate{DNSNames: []string{"a.test"}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(11e8, 0)})
	address := issue(t, root, x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	tests := map[string]struct {
		shown  *tls.Certificate
		change func(s *upstream.Security)
		want   string // a part of the error; "": it is good
	}{
		"its name":                   {shown: named(t, root, "a.test").tls()},
		"no SAN, its common name":    {shown: bare.tls()},
		"no SAN, another name":       {shown: bare.tls(), change: func(s *upstream.Security) { s.ServerName = "b.test" }, want: `is for "a.test" (its common name; it has no subjectAltName) and not for "b.test"`},
		"another name":               {shown: named(t, root, "b.test").tls(), want: `is for "b.test" and not for "a.test"`},
		"expired":                    {shown: old.tls(), want: "valid from 2001-09-09"},
		"by a stranger":              {shown: named(t, stranger, "a.test").tls(), want: "issued by nobody who is trusted"},
		"not verified":               {shown: named(t, stranger, "b.test").tls(), change: func(s *upstream.Security) { s.Verify = false }},
		"not verified and expired":   {shown: old.tls(), change: func(s *upstream.Security) { s.Verify = false }},
		"an address":                 {shown: address.tls(), change: func(s *upstream.Security) { s.ServerName = "127.0.0.1" }},
		"the target's address":       {shown: address.tls(), change: func(s *upstream.Security) { s.Or = "127.0.0.1" }},
		"another address":            {shown: address.tls(), change: func(s *upstream.Security) { s.ServerName = "127.0.0.2" }, want: `is for "127.0.0.1" and not for "127.0.0.2"`},
		"depth 2, two between":       {shown: named(t, lower, "a.test").tls(lower, upper), change: func(s *upstream.Security) { s.Depth = 2 }},
		"depth 1, two between":       {shown: named(t, lower, "a.test").tls(lower, upper), change: func(s *upstream.Security) { s.Depth = 1 }, want: "has 2 intermediate certificates and tls_verify_depth allows 1"},
		"depth 1, one between":       {shown: named(t, upper, "a.test").tls(upper), change: func(s *upstream.Security) { s.Depth = 1 }},
		"depth 0, one between":       {shown: named(t, upper, "a.test").tls(upper), want: "allows 0"},
		"depth 0, none between":      {shown: named(t, root, "a.test").tls()},
		"a missing one between":      {shown: named(t, upper, "a.test").tls(), change: func(s *upstream.Security) { s.Depth = 9 }, want: `the chain ends at issuer "upper"`},
		"depth 0 and not verified":   {shown: named(t, upper, "a.test").tls(upper), change: func(s *upstream.Security) { s.Verify = false }},
		"the system's authorities":   {shown: named(t, root, "a.test").tls(), change: func(s *upstream.Security) { s.Roots = nil }, want: "issued by nobody who is trusted"},
		"no certificate of its own ": {shown: named(t, root, "a.test").tls(), change: func(s *upstream.Security) { s.Identity = nil }},
	}
	for name, test := range tests {
		for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
			t.Run(fmt.Sprint(name, protocol), func(t *testing.T) {
				t.Parallel()
				origin := serve(t, &tls.Config{Certificates: []tls.Certificate{*test.shown}, NextProtos: []string{"h2", "http/1.1"}})
				s := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)}
				if test.change != nil {
					test.change(s)
				}
				p := newPools(t, client.Options{MaxIdle: -1}).Pool(addrOf(origin), upstream.Link{Protocol: protocol, Security: s})
				for range 2 { // once more on a resumed session: a verdict of a handshake must not stick
					a := ask(p, client.Head{})
					if test.want == "" {
						if a.err != nil || !strings.HasPrefix(a.body, "nobody as") {
							t.Fatalf("answer = %+v", a)
						}
						continue
					}
					failure, ok := a.err.(*client.Error)
					if !ok || failure.Kind != client.Connect || !strings.Contains(a.err.Error(), test.want) {
						t.Fatalf("error = %v, want %q", a.err, test.want)
					}
				}
			})
		}
	}
}

// Of two certificates the one is shown that the upstream can take.
func TestTwoCertificates(t *testing.T) {
	t.Parallel()
	root, one, other := authority(t, nil, "root"), authority(t, nil, "one"), authority(t, nil, "other")
	elliptic := named(t, one, "elliptic").tls()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rsa"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, other.Certificate, &key.PublicKey, other.key)
	if err != nil {
		t.Fatal(err)
	}
	rsaPair := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	for want, trusted := range map[string]*x509.CertPool{"elliptic": pool(one, other), "rsa": pool(other)} {
		origin := serve(t, &tls.Config{Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted})
		s := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root), Identity: upstream.NewIdentity(elliptic, rsaPair)}
		if a := ask(newPools(t, client.Options{}).Pool(addrOf(origin), link(s)), client.Head{}); a.body != want+" as a.test" {
			t.Errorf("answer = %+v, want that of %s", a, want)
		}
	}
	// An upstream whose list of authorities names neither still gets one: it may know better, as nginx does.
	origin := serve(t, &tls.Config{Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool(root)})
	s := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root), Identity: upstream.NewIdentity(rsaPair)}
	if a := ask(newPools(t, client.Options{}).Pool(addrOf(origin), link(s)), client.Head{}); a.body != "rsa as a.test" {
		t.Errorf("answer = %+v", a)
	}
}
