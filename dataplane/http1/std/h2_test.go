package std_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
)

// h2 starts the server over a proxy and returns a client that speaks HTTP/2 in clear.
func h2(t *testing.T) (*http1test.Origin, *http1test.Proxy, *http.Client, string) {
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	addr := http1test.Start(t, std.New(proxy, std.Options{}))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return origin, proxy, &http.Client{Transport: transport, Timeout: 5 * time.Second}, "http://" + addr
}

func TestHTTP2(t *testing.T) {
	t.Parallel()
	origin, proxy, c, base := h2(t)
	large := strings.Repeat("x", 300_000)
	resp, err := c.Post(base+"/echo", "text/plain", strings.NewReader(large))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != large || resp.ProtoMajor != 2 {
		t.Fatalf("%d bytes, %v, HTTP/%d", len(body), err, resp.ProtoMajor)
	}
	resp, err = c.Get(base + "/trailers?x=1")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Fatalf("%q, %v, trailers %v", body, err, resp.Trailer)
	}
	if seen := origin.Seen(); len(seen) != 2 || seen[0].Host != strings.TrimPrefix(base, "http://") || seen[1].URI != "/trailers?x=1" {
		t.Fatalf("%+v", seen)
	}
	if done := proxy.Await(t, 2); done[0].Sent.BodyBytes != 300_000 || done[0].Sent.ReceivedBytes != 300_000 {
		t.Fatalf("%+v", done[0])
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
	_, proxy, c, base := h2(t)
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

func TestHTTP2Refuses(t *testing.T) {
	t.Parallel()
	origin, _, c, base := h2(t)
	for target, want := range map[string]int{"/a/..%2fb": 400, "/a/..;/b": 400, "/a": 200} {
		req, err := http.NewRequest("GET", base+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = target
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, resp.StatusCode, want)
		}
	}
	if seen := origin.Seen(); len(seen) != 1 {
		t.Fatalf("%+v", seen)
	}
}
