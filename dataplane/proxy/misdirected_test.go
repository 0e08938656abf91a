package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// onHost is a route for a host, and for the server names if there are any; it answers by its plugins alone.
func onHost(id, host string, names ...string) entity {
	return route(id, "", func(m *configv1.Route) {
		m.Paths, m.Hosts = nil, array(host)
		if len(names) > 0 {
			m.Snis = set(names...)
		}
	})
}

// world are two authorities and routes: strict.test and *.wild.test ask for certificates of one each, open.test for none.
type world struct {
	one, two *authority
}

func newWorld(t testing.TB) *world { return &world{newAuthority(t, "one"), newAuthority(t, "two")} }

func (w *world) entities(t testing.TB, more ...entity) []entity {
	return append([]entity{
		w.one.entity(), w.two.entity(),
		onHost("strict", "strict.test", "strict.test"), certify(t, "p1", certifierConfig{Authorities: []string{"one"}}, onRoute("strict")),
		onHost("wild", "*.wild.test", "*.wild.test"), certify(t, "p2", certifierConfig{Authorities: []string{"two"}, Names: true}, onRoute("wild")),
		onHost("open", "open.test"),
	}, more...)
}

// ask sends a request by HTTP/1.1 and says what came back, and whether the connection is kept.
func (c *called) ask(t testing.TB, host string) (status int, body string, kept bool) {
	t.Helper()
	return ask(t, c.Conn, host)
}

func ask(t testing.TB, nc net.Conn, host string) (status int, body string, kept bool) {
	t.Helper()
	version, field := "1.1", "Host: "+host+"\r\n"
	if host == "" {
		version, field = "1.0", "Connection: keep-alive\r\n"
	}
	if _, err := fmt.Fprintf(nc, "GET / HTTP/%s\r\n%s\r\n", version, field); err != nil {
		t.Fatalf("asking for %q: %v", host, err)
	}
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatalf("asking for %q: %v", host, err)
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("asking for %q: %v", host, err)
	}
	if resp.Close {
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("after the last response came %q, %v", rest, err)
		}
	}
	return resp.StatusCode, string(content), !resp.Close
}

func engines(t *testing.T, test func(t *testing.T, on engine)) {
	for _, on := range []engine{native, standard} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// What is asked of a client depends on the server name that it gives; what it may then ask for, on the policy of that.
// 404 and 503 mean that routing has decided: open.test has a route without a service, the other names none.
func TestHandshakesAndHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.one.issue(t, "alice"), w.two.issue(t, "bob")
	tests := map[string]struct {
		name, host string
		cert       *tls.Certificate
		asked      bool
		status     int
		body       string
	}{
		"the right certificate":                  {"strict.test", "strict.test", alice, true, 200, "hello alice"},
		"no certificate":                         {"strict.test", "strict.test", nil, true, 401, "no certificate"},
		"another authority's":                    {"strict.test", "strict.test", bob, true, 401, "another authority"},
		"server name in capitals":                {"STRICT.Test", "strict.test", alice, true, 200, "hello alice"},
		"host in capitals":                       {"strict.test", "STRICT.test", alice, true, 200, "hello alice"},
		"trailing dot":                           {"strict.test", "strict.test.", alice, true, 200, "hello alice"},
		"port":                                   {"strict.test", "strict.test:8443", alice, true, 200, "hello alice"},
		"trailing dot and port":                  {"strict.test", "strict.test.:443", alice, true, 200, "hello alice"},
		"open":                                   {"open.test", "open.test", alice, false, 503, ""},
		"open, trailing dot and port":            {"open.test", "open.test.:443", alice, false, 503, ""},
		"a name that nobody knows":               {"else.test", "else.test", alice, false, 404, ""},
		"open to a strict host":                  {"open.test", "strict.test", alice, false, 421, ""},
		"open to a strict host, port":            {"open.test", "strict.test:443", alice, false, 421, ""},
		"open to a strict host, trailing dot":    {"open.test", "strict.test.", alice, false, 421, ""},
		"open to a strict host, dot and port":    {"open.test", "Strict.test.:8443", alice, false, 421, ""},
		"strict to an open host":                 {"strict.test", "open.test", alice, true, 421, ""},
		"strict to a host that nobody knows":     {"strict.test", "else.test", alice, true, 421, ""},
		"strict to an address":                   {"strict.test", "127.0.0.1", alice, true, 421, ""},
		"strict to no host":                      {"strict.test", "", alice, true, 421, ""},
		"wildcard":                               {"a.wild.test", "a.wild.test", bob, true, 200, "hello bob"},
		"wildcard, another of its names":         {"a.wild.test", "b.wild.test", bob, true, 200, "hello bob"},
		"wildcard to strict":                     {"a.wild.test", "strict.test", alice, true, 421, ""},
		"strict to wildcard":                     {"strict.test", "a.wild.test", alice, true, 421, ""},
		"wildcard's parent is not of it":         {"wild.test", "a.wild.test", bob, false, 421, ""},
		"no server name, open":                   {"", "open.test", alice, false, 503, ""},
		"no server name, strict":                 {"", "strict.test", alice, false, 421, ""},
		"no server name, wildcard":               {"", "a.wild.test", alice, false, 421, ""},
		"no server name, no host":                {"", "", alice, false, 404, ""},
		"no server name, address":                {"", "127.0.0.1:8443", alice, false, 404, ""},
		"no server name, IPv6 address":           {"", "[::1]", alice, false, 404, ""},
		"no server name, IPv6 address and port":  {"", "[::1]:8443", alice, false, 404, ""},
		"an address that ends like a known name": {"", "1.2.3.4", alice, false, 404, ""},
	}
	engines(t, func(t *testing.T, on engine) {
		g := newGate(t, on, w.entities(t)...)
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := caller{name: test.name, cert: test.cert}.dial(t, g)
				if c.asked != test.asked {
					t.Errorf("asked for a certificate: %v, want %v", c.asked, test.asked)
				}
				status, body, kept := c.ask(t, test.host)
				if status != test.status || test.body != "" && body != test.body {
					t.Errorf("%d %q, want %d %q", status, body, test.status, test.body)
				}
				if kept != (test.status != 421) {
					t.Errorf("kept: %v after %d", kept, status)
				}
				if status == 421 && !strings.Contains(body, "Misdirected Request") {
					t.Errorf("body %q", body)
				}
			})
		}
		t.Run("in clear", func(t *testing.T) {
			t.Parallel()
			nc, err := net.Dial("tcp", g.clear)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			if status, body, kept := ask(t, nc, "strict.test"); status != 401 || !kept {
				t.Errorf("%d %q, kept %v; want the plugin's 401", status, body, kept)
			}
		})
	})
}

func TestRequestsNameTheAuthoritiesThatPluginsWantNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := newGate(t, native, w.entities(t)...)
	if c := (caller{name: "strict.test"}).dial(t, g); !c.asked || len(c.issuers) != 0 {
		t.Errorf("strict.test: asked %v, with %d names", c.asked, len(c.issuers))
	}
	if c := (caller{name: "a.wild.test"}).dial(t, g); len(c.issuers) != 1 || !bytes.Equal(c.issuers[0], w.two.cert.RawSubject) {
		t.Errorf("a.wild.test: named %q", c.issuers)
	}
	// What every handshake asks for is named to all, RFC 8446 §4.2.4 and RFC 5246 §7.4.4.
	g.apply(t, w.entities(t, onHost("any", "any.test"), certify(t, "p3", certifierConfig{Authorities: []string{"one"}, Names: true}, onRoute("any")))...)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, want := range map[string]int{"": 1, "open.test": 1, "strict.test": 1, "a.wild.test": 2} {
			if c := (caller{name: name, version: version}).dial(t, g); !c.asked || len(c.issuers) != want {
				t.Errorf("%q: asked %v, with %d names, want %d", name, c.asked, len(c.issuers), want)
			}
		}
	}
}

// A connection from before a change goes on if the change does not concern it, and is told 421 if it does.
func TestHostsAfterASwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.one.issue(t, "alice")
	renewed := &world{newAuthority(t, "one"), w.two}
	engines(t, func(t *testing.T, on engine) {
		g := newGate(t, on, w.entities(t)...)
		dial := func(name string) *called { return caller{name: name, cert: alice}.dial(t, g) }
		expect := func(c *called, host string, want int) {
			t.Helper()
			if status, body, kept := c.ask(t, host); status != want || kept != (want != 421) {
				t.Errorf("%s: %d %q, kept %v; want %d", host, status, body, kept, want)
			}
		}
		strict, open, both := dial("strict.test"), dial("open.test"), dial("open.test")
		expect(strict, "strict.test", 200)
		expect(open, "open.test", 503)
		g.apply(t, w.entities(t, onHost("other", "other.test"))...)
		expect(strict, "strict.test", 200)
		expect(open, "open.test", 503)

		// the authority's certificate is another now, under the same id
		g.apply(t, renewed.entities(t)...)
		expect(strict, "strict.test", 421)
		expect(dial("strict.test"), "strict.test", 200)
		expect(open, "open.test", 503)

		// open.test asks for certificates now
		closed := w.entities(t, certify(t, "p4", certifierConfig{Authorities: []string{"one"}}, onRoute("open")))
		g.apply(t, closed...)
		expect(open, "open.test", 421)
		expect(both, "strict.test", 421)
		expect(dial("open.test"), "open.test", 200)

		// and nobody asks any more: who was asked has to come again, since its connection was made for something else
		asked := dial("strict.test")
		expect(asked, "strict.test", 200)
		g.apply(t, onHost("strict", "strict.test"))
		expect(asked, "strict.test", 421)
		expect(dial("strict.test"), "strict.test", 503)
	})
}

// A session that was made under one policy is not resumed under another, and what is resumed keeps the certificate.
func TestSessionsStayUnderTheirPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.one.issue(t, "alice"), w.two.issue(t, "bob")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, on := range []engine{native, standard} {
			t.Run(tls.VersionName(version)+" "+string(on), func(t *testing.T) {
				t.Parallel()
				g := newGate(t, on, w.entities(t)...)
				// visit makes a connection with what the sessions hold and asks for the server name's own host.
				visit := func(name string, cert *tls.Certificate, sessions tls.ClientSessionCache, resumed bool, status int, body string) {
					t.Helper()
					c := caller{name: name, cert: cert, sessions: sessions, version: version}.dial(t, g)
					if got, gotBody, _ := c.ask(t, name); got != status || !strings.Contains(gotBody, body) {
						t.Errorf("%s: %d %q, want %d %q", name, got, gotBody, status, body)
					}
					if c.ConnectionState().DidResume != resumed {
						t.Errorf("%s: resumed %v, want %v", name, !resumed, resumed)
					}
					_ = c.Close()
				}
				taken := func(name string, cert *tls.Certificate) *anySession {
					t.Helper()
					sessions := &anySession{}
					status, body := 503, ""
					if cert != nil {
						status, body = 200, "hello"
					}
					visit(name, cert, sessions, false, status, body)
					if sessions.last == nil {
						t.Fatal("no ticket")
					}
					return sessions
				}
				strict, open := taken("strict.test", alice), taken("open.test", nil)
				visit("strict.test", nil, &anySession{strict.last}, true, 200, "hello alice")
				visit("open.test", nil, &anySession{open.last}, true, 503, "")
				visit("open.test", nil, &anySession{strict.last}, false, 503, "")
				visit("strict.test", nil, &anySession{open.last}, false, 401, "no certificate")
				visit("a.wild.test", nil, &anySession{strict.last}, false, 401, "no certificate")
				wild := taken("a.wild.test", bob)
				visit("b.wild.test", nil, &anySession{wild.last}, true, 200, "hello bob")
				visit("strict.test", nil, &anySession{wild.last}, false, 401, "no certificate")

				g.apply(t, w.entities(t, onHost("other", "other.test"))...)
				visit("strict.test", nil, &anySession{strict.last}, true, 200, "hello alice")
				g.apply(t, (&world{newAuthority(t, "one"), w.two}).entities(t)...)
				visit("strict.test", nil, &anySession{strict.last}, false, 401, "no certificate")
				visit("a.wild.test", nil, &anySession{wild.last}, true, 200, "hello bob")
				g.apply(t, onHost("open", "open.test"))
				visit("open.test", nil, &anySession{strict.last}, false, 503, "")
				visit("open.test", nil, &anySession{open.last}, true, 503, "")
			})
		}
	}
}

// Browsers send requests for other hosts over an HTTP/2 connection whose certificate names those too, RFC 9113 §9.1.1.
func TestCoalescedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.one.issue(t, "alice")
	g := newGate(t, native, w.entities(t)...)
	open := func(name string) (ask func(host string) int, dials *atomic.Int32) {
		dials = new(atomic.Int32)
		transport := &http.Transport{
			Protocols: new(http.Protocols),
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				dials.Add(1)
				return caller{name: name, cert: alice, next: []string{"h2"}}.dial(t, g).Conn, nil
			},
		}
		transport.Protocols.SetHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		return func(host string) int {
			t.Helper()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://gate.test/", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = host
			resp, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatalf("%s: %v", host, err)
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.ProtoMajor != 2 {
				t.Errorf("HTTP/%d", resp.ProtoMajor)
			}
			return resp.StatusCode
		}, dials
	}
	fromOpen, openDials := open("open.test")
	fromStrict, strictDials := open("strict.test")
	for range 2 {
		for host, want := range map[string]int{"open.test": 503, "open.test:443": 503, "strict.test": 421, "strict.test:8443": 421, "a.wild.test": 421} {
			if got := fromOpen(host); got != want {
				t.Errorf("open to %s: %d, want %d", host, got, want)
			}
		}
		for host, want := range map[string]int{"strict.test": 200, "strict.test:8443": 200, "open.test": 421, "a.wild.test": 421, "else.test": 421} {
			if got := fromStrict(host); got != want {
				t.Errorf("strict to %s: %d, want %d", host, got, want)
			}
		}
	}
	if openDials.Load() != 1 || strictDials.Load() != 1 {
		t.Errorf("%d and %d connections, want one each: 421 leaves the connection to other hosts", openDials.Load(), strictDials.Load())
	}
	// After a change that concerns the connection's own host there is nothing left that it could serve.
	g.apply(t, (&world{newAuthority(t, "one"), w.two}).entities(t)...)
	if got := fromStrict("strict.test"); got != 421 {
		t.Errorf("after the change: %d, want 421", got)
	}
	for start := time.Now(); fromStrict("strict.test") != 200; time.Sleep(time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal("the connection is not given up")
		}
	}
	if got := fromOpen("open.test"); got != 503 || openDials.Load() != 1 {
		t.Errorf("open: %d over %d connections", got, openDials.Load())
	}
}

// A route that is for http alone takes requests over TLS too, and its plugins see those.
func TestPluginsOfARouteInClearSeeRequestsOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	onlyHTTP := route("r", "", func(m *configv1.Route) { m.Paths, m.Protocols = array("/"), set("http") })
	for name, protocols := range map[string]*configv1.StringSet{"by default": nil, "listed": set("grpc", "grpcs", "http", "https"), "http": set("http")} {
		g := newGate(t, native, w.one.entity(), onlyHTTP,
			certify(t, "p", certifierConfig{Authorities: []string{"one"}}, onRoute("r"), func(m *configv1.Plugin) { m.Protocols = protocols }))
		if status, body, _ := (caller{name: "a.test"}).dial(t, g).ask(t, "a.test"); status != 401 {
			t.Errorf("protocols %s: %d %q, want the plugin's 401", name, status, body)
		}
	}
}
