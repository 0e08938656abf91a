package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// send writes raw bytes to the gateway and reads one response.
func (g *gateway) send(t testing.TB, raw string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	body, _ := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(body)}
}

// No spelling of a path leaves the service's path or reaches another route than the one that it is forwarded as.
func TestPathsThatClimb(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{},
		o.service("s", func(m *configv1.Service) { m.Path = new("/base") }), route("foo", "s"),
		route("regex", "s", func(m *configv1.Route) { m.Paths = array(`~/v\d`) }),
		route("admin", "", func(m *configv1.Route) { m.Paths = array("/admin") }))
	for target, want := range map[string]struct {
		status int
		body   string
	}{
		"/foo/x": {200, "GET /base/x "}, "/foobar": {200, "GET /base/bar "}, "/foo.bar": {200, "GET /base/.bar "}, "/foo...": {200, "GET /base/... "},
		"/foo../admin": {400, ""}, "/foo..": {400, ""}, "/foo./x": {400, ""}, "/foo%2e%2e/admin": {400, ""}, "/foo.%2E/admin": {400, ""},
		"/foo..;/admin": {400, ""}, "/foo..%3Bx/admin": {400, ""}, "/foo..%2Fadmin": {400, ""}, "/foo..%5cadmin": {400, ""}, `/foo..\admin`: {400, ""},
		"/v1../admin": {400, ""}, "/v1..;a/admin": {400, ""}, "/v1/x": {200, "GET /base/x "},
		"/foo/../admin": {503, ""}, "/foo/%2e%2e/admin": {503, ""}, "//admin": {503, ""}, "/%61dmin": {503, ""}, "/./admin": {503, ""},
		"/foo/..%2fadmin": {400, ""}, "/foo/..;/admin": {400, ""}, "/foo/%00": {200, "GET /base/%00 "}, "/foo/%252e%252e/x": {200, "GET /base/%252e%252e/x "},
		"http://a/admin": {503, ""}, "http://b/admin": {400, ""}, "admin": {400, ""}, "/foo#/../admin": {400, ""}, "/foo/%zz": {400, ""},
	} {
		if g.engine == standard && target == "http://b/admin" {
			continue // it ignores Host then, RFC 9112 §3.2.2, and so does everybody after it
		}
		got := g.send(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if got.status != want.status || want.body != "" && got.body != want.body {
			t.Errorf("%s: %d %q, want %d %q", target, got.status, got.body, want.status, want.body)
		}
	}
}

// A client cannot speak for the gateway, nor have it drop what it says.
func TestHeadersThatSmuggle(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	list := append(authEntities(t, o), route("key", "s"), plug(t, "p1", "key-auth", keyAuth(), onRoute("key")),
		route("anon", "s"), plug(t, "p2", "basic-auth", &pluginv1.BasicAuth{Anonymous: new("guest"), HideCredentials: new(true)}, onRoute("anon")))
	g := newGateway(t, proxy.Options{}, list...)
	for name, test := range map[string]struct {
		target, headers string
		want            map[string]string
	}{
		"Connection names an identity header": {
			"/key", "Connection: X-Consumer-Username, X-Consumer-ID, X-Forwarded-For, X-Real-IP, Via, close\r\n",
			map[string]string{"X-Consumer-Username": "Alice", "X-Consumer-Id": "alice", "X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "Via": "1.1 keepgate"},
		},
		"underscores": {
			"/key", "X_Consumer_Username: root\r\nx-consumer_id: 1\r\nX_Credential_Identifier: 1\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Real_IP: 1\r\n",
			map[string]string{
				"X_consumer_username": "", "X-Consumer_id": "", "X-Consumer_Id": "", "X_credential_identifier": "", "Content_length": "", "Transfer_encoding": "",
				"X_real_ip": "", "X-Consumer-Username": "Alice",
			},
		},
		"groups and the like": {"/key", "X-Consumer-Groups: admin\r\nX-Anonymous-Consumer: true\r\n", map[string]string{"X-Consumer-Groups": "", "X-Anonymous-Consumer": ""}},
		"a wrong password is hidden too": {
			"/anon", "Authorization: Basic YWw6d3Jvbmc=\r\nProxy-Authorization: Basic YWw6d3Jvbmcy\r\n",
			map[string]string{"Authorization": "", "Proxy-Authorization": "", "X-Anonymous-Consumer": "true"},
		},
		"protocol switches": {
			"/key", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nTE: trailers\r\nProxy: http://evil\r\n",
			map[string]string{"Upgrade": "", "Http2-Settings": "", "Te": "", "Proxy": "", "Connection": "keep-alive"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.send(t, "GET "+test.target+" HTTP/1.1\r\nHost: a\r\napikey: "+aliceKey+"\r\n"+test.headers+"\r\n")
			if got.status != 200 {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			compareHeaders(t, (<-o.seen).Header, test.want)
		})
	}
}

func TestHostsAndMethods(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{}, o.service("s"),
		route("in", "s", func(m *configv1.Route) { m.Hosts, m.Paths = array("shop.test"), nil }),
		route("port", "s", func(m *configv1.Route) { m.Hosts, m.Paths = array("port.test:81"), nil }),
		route("v6", "s", func(m *configv1.Route) {
			m.Hosts, m.Paths, m.Protocols, m.HttpsRedirectStatusCode = array("[::1]"), nil, set("https"), new(int64(302))
		}))
	for host, status := range map[string]int{
		"shop.test": 200, "SHOP.Test": 200, "shop.test.": 200, "shop.test.:80": 200, "shop.test:8080": 200, "shop.test..": 400, "xshop.test": 404, "shop.test.evil": 404,
		"user@shop.test": 400, "shop.test:": 400, "shop.test:99999": 400, "shop.test:8x": 400, "shop.test/x": 400, "shop.test,b": 400, "": 400, "shop%2etest": 400,
		"port.test": 404, "port.test:81": 200, "port.test:082": 404, "[::1": 400, "::1": 400, "[::1%25lo]": 400, "[::1]:80": 302, "shop.test b": 400,
	} {
		got := g.send(t, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		if got.status != status {
			t.Errorf("Host %q: %d, want %d", host, got.status, status)
		}
		if location := got.header.Get("Location"); status == 302 && location != "https://[::1]/" {
			t.Errorf("Location %q", location)
		}
	}
	for request, status := range map[string]int{
		"TRACE / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n":                                        405,
		"CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n\r\n":                                             501,
		"OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n\r\n":                                                           400,
		"GET http://shop.test/ HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n":                          200,
		"GET http://u@shop.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n":                                             400,
		"GET https://shop.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n":                                              400,
		"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":  400,
		"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n":  200,
		"POST / HTTP/1.1\r\nHost: shop.test\r\nConnection: Content-Length, close\r\nContent-Length: 3\r\n\r\nabc": 200,
	} {
		if g.engine == standard && strings.Contains(request, "Length: 1") {
			continue // the standard server takes Transfer-Encoding and frames anew
		}
		if got := g.send(t, request); got.status != status {
			t.Errorf("%q: %d, want %d", request, got.status, status)
		}
	}
}

// badOrigin answers the n-th connection with what is scripted for it, after reading one request, and leaves it open.
func badOrigin(t *testing.T, script string, end bool) (port int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				r := bufio.NewReader(nc)
				for {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, request.Body)
					_, _ = io.WriteString(nc, strings.ReplaceAll(script, "URI", request.RequestURI))
					if end {
						return
					}
				}
			}()
		}
	}()
	return int64(l.Addr().(*net.TCPAddr).Port)
}

// Whatever an upstream sends, a client gets one response that is its own, or a 502.
func TestUpstreamsThatMisbehave(t *testing.T) {
	t.Parallel()
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for name, test := range map[string]struct {
		script string
		end    bool
		status int
		body   string // of a whole response; "cut" when it must not look whole
	}{
		"a second response":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nURI" + poison, false, 200, "/r"},
		"a second one, chunked":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nURI\r\n0\r\n\r\n" + poison, false, 200, "/r"},
		"a body after 204":        {"HTTP/1.1 204 No Content\r\n\r\n" + poison, false, 204, ""},
		"a body after 304":        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n" + poison, false, 304, ""},
		"CL and TE":               {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 502, ""},
		"two lengths":             {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false, 502, ""},
		"a negative length":       {"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab", false, 502, ""},
		"no status line":          {"hello there, this is not HTTP at all\r\n\r\n", true, 502, ""},
		"a status of four digits": {"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", false, 502, ""},
		"HTTP/2.0":                {"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, 502, ""},
		"a folded header":         {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", false, 502, ""},
		"interim without end":     {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 500), false, 502, ""},
		"a few interim ones":      {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nURI", false, 200, "/r"},
		"101 unasked":             {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw", false, 502, ""},
		"too short":               {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nURI", true, 200, "cut"},
		"chunked and cut":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true, 200, "cut"},
		"a bad chunk":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n", true, 200, "cut"},
		"nothing":                 {"", true, 502, ""},
		"a head without end":      {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100_000), true, 502, ""},
		"until it closes":         {"HTTP/1.1 200 OK\r\n\r\nURI", true, 200, "/r"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := badOrigin(t, test.script, test.end)
			g := newGateway(t, proxy.Options{}, entity{"services", "s", &configv1.Service{Protocol: new("http"), Host: new("127.0.0.1"), Port: &port, Retries: new(int64(0))}},
				route("r", "s", func(m *configv1.Route) { m.StripPath = new(false) }))
			transport := g.engine.transport()
			defer transport.CloseIdleConnections()
			for i := range 4 { // the later ones would meet what an earlier one left
				request, _ := http.NewRequestWithContext(t.Context(), "GET", g.url+"/r", nil)
				response, err := transport.RoundTrip(request)
				if err != nil && test.body == "cut" {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				switch {
				case response.StatusCode != test.status, test.body == "cut" && err == nil, test.body != "cut" && err != nil, strings.Contains(string(body), "poison"):
					t.Fatalf("request %d: %d %q, %v", i, response.StatusCode, body, err)
				case test.status == 200 && test.body != "cut" && string(body) != test.body:
					t.Fatalf("request %d: %q", i, body)
				}
			}
		})
	}
}

// Pipelined requests with bodies are answered in order, and a refused one ends the connection.
func TestPipelinedRequests(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	g := newGateway(t, proxy.Options{}, o.service("s"), route("r", "s"))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	var raw strings.Builder
	for i := range 20 {
		if i%2 == 0 {
			fmt.Fprintf(&raw, "POST /r/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /smuggled HTTP/1.1\r\nHost:x\r", i)
			continue
		}
		fmt.Fprintf(&raw, "PUT /r/%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1f;x=y\r\nGET /smuggled HTTP/1.1\r\nHost:x\r\r\n0\r\nX-T: 1\r\n\r\n", i)
	}
	raw.WriteString("GET / HTTP/1.1\r\nHost : a\r\n\r\nGET /r/late HTTP/1.1\r\nHost: a\r\n\r\n")
	go io.WriteString(conn, raw.String())
	r := bufio.NewReader(conn)
	for i := range 20 {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("response %d: %v", i, err)
		}
		body, _ := io.ReadAll(response.Body)
		if want := fmt.Sprintf(" /%d GET /smuggled HTTP/1.1\r\nHost:x\r", i); !strings.HasSuffix(string(body), want) {
			t.Fatalf("response %d: %d %q", i, response.StatusCode, body)
		}
	}
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != 400 {
		t.Fatalf("the malformed one: %v %v", response, err)
	}
	_, _ = io.ReadAll(response.Body)
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("answered after a malformed request: %q", rest)
	}
}
