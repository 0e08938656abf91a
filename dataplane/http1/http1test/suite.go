package http1test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Factory makes the engine under test over a handler.
type Factory func(t testing.TB, handler exchange.Handler) Engine

// Client is a raw connection to the engine.
type Client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

// Dial connects to addr; everything has 5 seconds.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
	return Over(t, nc)
}

// Over makes a Client of a connection that exists.
func Over(t testing.TB, nc net.Conn) *Client {
	t.Cleanup(func() { _ = nc.Close() })
	return &Client{t, nc, bufio.NewReader(nc)}
}

// Send writes raw bytes.
func (c *Client) Send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, raw); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// Close closes the connection.
func (c *Client) Close() { _ = c.nc.Close() }

// Head reads the head of a response.
func (c *Client) Head(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	return resp
}

// Response reads a whole response.
func (c *Client) Response(method string) (*http.Response, string) {
	c.t.Helper()
	resp := c.Head(method)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("reading the body: %v (after %d bytes)", err, len(body))
	}
	return resp, string(body)
}

// Line reads one line.
func (c *Client) Line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("reading a line: %v", err)
	}
	return strings.TrimRight(line, "\r\n")
}

// Closed checks that the server closes the connection without more bytes.
func (c *Client) Closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 || isTimeout(err) {
		c.t.Fatalf("connection still open, or %d bytes more (%.80q), %v", len(rest), rest, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// bench is one engine, its proxy and its origin.
type bench struct {
	origin *Origin
	proxy  *Proxy
	addr   string
}

func (f Factory) bench(t *testing.T) bench {
	origin := NewOrigin(t)
	proxy := NewProxy(t, origin.Addr)
	return bench{origin, proxy, Start(t, f(t, proxy))}
}

// Run runs the whole suite.
func Run(t *testing.T, factory Factory) {
	for name, test := range map[string]func(*testing.T, bench){
		"a request and its response":             plain,
		"keep-alive and its end":                 keepAlive,
		"pipelined requests, answered in order":  pipelined,
		"HTTP/1.0":                               oldClient,
		"HEAD, 204 and 304 have no body":         bodiless,
		"request bodies":                         requestBodies,
		"a chunked request with trailers":        requestTrailers,
		"100-continue is sent when it is wanted": expectContinue,
		"an early answer ends a long body":       earlyAnswer,
		"long responses":                         longResponses,
		"response trailers":                      responseTrailers,
		"events arrive as they happen":           events,
		"a cut response does not look whole":     cutResponse,
		"interim responses are passed over":      interim,
		"hop-by-hop fields end here":             hopByHop,
		"one path":                               onePath,
		"a client that leaves":                   clientLeaves,
		"an upstream that is silent":             silentUpstream,
		"a body over its limit":                  bodyLimit,
		"what Finish sees":                       finished,
		"a tunnel for WebSocket":                 websocket,
		"no answer":                              noAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, factory.bench(t))
		})
	}
}

func plain(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /a?b=c HTTP/1.1\r\nHost: EXAMPLE.test:80\r\nX-One: 1\r\nx-one: 2\r\n\r\n")
	resp, body := c.Response("GET")
	if resp.StatusCode != 200 || body != "hello /a?b=c" || resp.Header.Get("X-Origin") != "yes" || resp.Header.Get("Date") == "" {
		t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
	seen := b.origin.Seen()
	if len(seen) != 1 || seen[0].Host != "example.test:80" || seen[0].URI != "/a?b=c" || fmt.Sprint(seen[0].Header["X-One"]) != "[1 2]" {
		t.Fatalf("the origin saw %+v", seen)
	}
}

func keepAlive(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for i := range 5 {
		c.Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
		if resp, body := c.Response("GET"); body != fmt.Sprintf("hello /%d", i) || resp.Close {
			t.Fatalf("%q, close %v", body, resp.Close)
		}
	}
	c.Send("GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if resp, body := c.Response("GET"); body != "hello /last" || !resp.Close {
		t.Fatalf("%q, close %v", body, resp.Close)
	}
	c.Closed()
	if idle, busy := b.proxy.Pool.Counts(); idle != 1 || busy != 0 {
		t.Fatalf("upstream connections: %d idle, %d busy; want one for all", idle, busy)
	}
}

func pipelined(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nthree" +
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n")
	for _, want := range []string{"hello /1", "three", "four", "hello /4"} {
		if _, body := c.Response("GET"); body != want {
			t.Fatalf("%q, want %q", body, want)
		}
	}
}

func oldClient(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
	if resp, body := c.Response("GET"); body != "hello /a" || resp.Header.Get("Connection") != "keep-alive" {
		t.Fatalf("%q %v", body, resp.Header)
	}
	c.Send("GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n")
	if resp, body := c.Response("GET"); len(body) != 100_000 || len(resp.TransferEncoding) != 0 {
		t.Fatalf("%d bytes, %v", len(body), resp.TransferEncoding)
	}
	c.Closed()
}

func bodiless(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for _, path := range []string{"/x", "/large", "/chunked", "/trailers"} {
		c.Send("HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, body := c.Response("HEAD"); resp.StatusCode != 200 || body != "" {
			t.Fatalf("HEAD %s: %d %q", path, resp.StatusCode, body)
		} else if path == "/large" && resp.ContentLength != 1_000_000 {
			t.Fatalf("HEAD /large: length %d", resp.ContentLength)
		}
	}
	for _, status := range []int{204, 304, 404} {
		c.Send(fmt.Sprintf("GET /status/%d HTTP/1.1\r\nHost: a\r\n\r\n", status))
		if resp, body := c.Response("GET"); resp.StatusCode != status || body != "" || resp.Header.Get("X-Origin") != "yes" {
			t.Fatalf("%d %q", resp.StatusCode, body)
		} else if status == 204 && resp.Header.Get("Content-Length") != "" {
			t.Fatalf("204 with a length: %v", resp.Header)
		}
	}
	c.Send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := c.Response("GET"); body != "hello /after" {
		t.Fatalf("%q", body)
	}
}

// TrySend writes raw bytes; the server may have closed already.
func (c *Client) TrySend(raw string) { _, _ = io.WriteString(c.nc, raw) }
