package http1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

func native(_ testing.TB, handler exchange.Handler) http1test.Engine {
	return http1.New(handler, http1.Options{})
}

func TestHostile(t *testing.T) {
	t.Parallel()
	cases := http1test.ReadHostile(t, "testdata/hostile.txt")
	cases = append(cases, http1test.Oversized()...)
	cases = append(cases, http1test.Hostile{
		Name: "a long request line", Status: 414, Raw: "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	}, http1test.Hostile{
		Name: "a request line without end", Status: 414, Raw: "GET /" + strings.Repeat("a", 70_000),
	}, http1test.Hostile{
		Name: "endless chunk extension", Status: 400,
		Raw: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", 9000) + "\r\nabc\r\n0\r\n\r\n",
	}, http1test.Hostile{
		Name: "endless trailers", Status: 400,
		Raw: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 900)+"\r\n", 20) + "\r\n",
	}, http1test.Hostile{
		Name: "too many connection options", Status: 400, Raw: "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("a,", 40) + "b\r\n\r\n",
	})
	http1test.Factory(native).Run(t, cases)
}

func TestSlowHead(t *testing.T) {
	t.Parallel()
	for name, pieces := range map[string][]string{
		"stops in the request line": {"GET / HT"},
		"drips header lines":        {"GET / HTTP/1.1\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n", "A: b\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := http1test.NewOrigin(t)
			engine := http1.New(http1test.NewProxy(t, origin.Addr), http1.Options{HeadTimeout: 100 * time.Millisecond})
			c := http1test.Dial(t, http1test.Start(t, engine))
			go func() {
				for _, piece := range pieces {
					c.TrySend(piece)
					time.Sleep(20 * time.Millisecond)
				}
			}()
			if resp, _ := c.Response("GET"); resp.StatusCode != 408 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			c.Closed()
			if seen := origin.Seen(); len(seen) != 0 {
				t.Fatalf("the origin saw %v", seen)
			}
		})
	}
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	origin := http1test.NewOrigin(t)
	proxy := http1test.NewProxy(t, origin.Addr)
	c := http1test.Dial(t, http1test.Start(t, http1.New(proxy, http1.Options{BodyTimeout: 60 * time.Millisecond})))
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
	if resp, _ := c.Response("POST"); resp.StatusCode != 408 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	c.Closed()
}

func TestShortBody(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"counted": "Content-Length: 10\r\n\r\nhalf", "streamed": "Content-Length: 100000\r\n\r\nhalf", "chunked": "Transfer-Encoding: chunked\r\n\r\n10\r\nhalf",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := http1test.NewOrigin(t)
			proxy := http1test.NewProxy(t, origin.Addr)
			c := http1test.Dial(t, http1test.Start(t, native(t, proxy)))
			c.Send("POST /echo HTTP/1.1\r\nHost: a\r\n" + head)
			time.Sleep(20 * time.Millisecond)
			c.Close()
			// Nobody hears the answer. On a busy machine the watch may notice that before the body is found to be short.
			if done := proxy.Await(t, 1); done[0].Status != 400 && done[0].Status != 499 {
				t.Fatalf("%+v", done[0])
			}
			for _, seen := range origin.Seen() {
				if seen.Err == nil {
					t.Fatalf("the origin took %q for a whole body", seen.Body)
				}
			}
		})
	}
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, "127.0.0.1:1")
	c := http1test.Dial(t, http1test.Start(t, http1.New(proxy, http1.Options{IdleTimeout: 40 * time.Millisecond})))
	c.Closed()
}
