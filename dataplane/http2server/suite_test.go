package http2server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

const patience = 30 * time.Second // of a test, with what must come soon

// start serves handler on a loopback port until the test ends.
func start(t testing.TB, handler exchange.Handler, options http2server.Options) string {
	t.Helper()
	if options.Panicked == nil {
		options.Panicked = func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
	}
	return http1test.Start(t, http2server.New(handler, options))
}

// proxied starts the server over a proxy and returns a client that speaks HTTP/2 in clear.
func proxied(t testing.TB) (*http1test.Origin, *http1test.Proxy, *http.Client, string) {
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	addr := start(t, proxy, http2server.Options{})
	return origin, proxy, client(t), "http://" + addr
}

func client(t testing.TB) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestProxied(t *testing.T) {
	t.Parallel()
	origin, proxy, c, base := proxied(t)
	for _, size := range []int{0, 1, 5000, 16384, 16385, 65535, 300_000, 2_000_000} {
		large := strings.Repeat("x", size)
		resp, err := c.Post(base+"/echo", "text/plain", strings.NewReader(large))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != large || resp.ProtoMajor != 2 {
			t.Fatalf("%d bytes of %d, %v, HTTP/%d", len(body), size, err, resp.ProtoMajor)
		}
		resp, err = c.Post(base+"/echo", "text/plain", io.MultiReader(strings.NewReader(large))) // of unknown length
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != large {
			t.Fatalf("%d bytes of %d, %v", len(body), size, err)
		}
	}
	done := proxy.Await(t, 16)
	if last := done[len(done)-1]; last.Sent.BodyBytes != 2_000_000 || last.Sent.ReceivedBytes != 2_000_000 || last.Sent.Err != nil {
		t.Fatalf("%+v", last)
	}
	resp, err := c.Get(base + "/trailers?x=1")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Fatalf("%q, %v, trailers %v", body, err, resp.Trailer)
	}
	if seen := origin.Seen(); seen[16].Host != strings.TrimPrefix(base, "http://") || seen[16].URI != "/trailers?x=1" {
		t.Fatalf("%+v", seen[16])
	}
	resp, err = c.Get(base + "/cut")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Fatal("a cut response looks whole")
	}
}

// TestBothWays sends and receives over one exchange at the same time, as a gRPC stream would.
func TestBothWays(t *testing.T) {
	t.Parallel()
	_, proxy, c, base := proxied(t)
	proxy.Local = func(ex *exchange.Exchange) bool {
		ex.Response.Status, ex.Response.ContentLength = 200, -1
		ex.Response.Stream = io.NopCloser(ex.Request.Body)
		return true
	}
	reader, writer := io.Pipe()
	resp, err := c.Post(base+"/", "text/plain", reader)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	for _, word := range []string{"one", "two", "three"} {
		_, _ = io.WriteString(writer, word)
		if n, err := resp.Body.Read(buf); err != nil || string(buf[:n]) != word {
			t.Fatalf("%q, %v; want %q", buf[:n], err, word)
		}
	}
	_ = writer.Close()
	if n, err := resp.Body.Read(buf); err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
}

// Many requests at once, over few connections, all get their own answer; and nothing is left of them.
func TestMany(t *testing.T) {
	t.Parallel()
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	server := http2server.New(proxy, http2server.Options{})
	base := "http://" + http1test.Start(t, server)
	c := client(t)
	done := make(chan error)
	for i := range 20 {
		go func() {
			var failure error
			for j := range 20 {
				path := "/" + strings.Repeat("a", i+1) + "/" + strings.Repeat("b", j+1)
				resp, err := c.Get(base + path)
				if err == nil {
					var body []byte
					if body, err = io.ReadAll(resp.Body); err == nil && string(body) != "hello "+path {
						err = io.ErrUnexpectedEOF
					}
				}
				if err != nil {
					failure = err
				}
			}
			done <- failure
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	proxy.Await(t, 400)
	if open, _ := server.Connections(); open != 1 {
		t.Errorf("%d connections", open)
	}
}

// A handler that panics takes its own stream with it, and no other.
func TestPanic(t *testing.T) {
	t.Parallel()
	_, proxy, c, _ := proxied(t)
	proxy.Local = func(ex *exchange.Exchange) bool {
		if ex.Request.Path == "/panic" {
			panic("on purpose")
		}
		return false
	}
	panics := make(chan any, 1)
	base := "http://" + start(t, proxy, http2server.Options{Panicked: func(v any, _ []byte) { panics <- v }})
	if resp, err := c.Get(base + "/panic"); err == nil {
		t.Errorf("status %d", resp.StatusCode)
	}
	if v := <-panics; v != "on purpose" {
		t.Errorf("%v", v)
	}
	resp, err := c.Get(base + "/next")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello /next" {
		t.Errorf("%q", body)
	}
}

// Shutdown waits for what is under way, and new requests go elsewhere.
func TestShutdown(t *testing.T) {
	t.Parallel()
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	entered, hold := make(chan struct{}), make(chan struct{})
	proxy.Local = func(*exchange.Exchange) bool {
		entered <- struct{}{}
		<-hold
		return false
	}
	server := http2server.New(proxy, http2server.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	answer := make(chan string, 1)
	go func() {
		resp, err := client(t).Get("http://" + l.Addr().String() + "/x")
		if err != nil {
			answer <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-entered
	_ = l.Close()
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(hold)
	if got := <-answer; got != "hello /x" {
		t.Errorf("%q", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
