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
)

// arrivals is an upstream that tells what arrives when.
func arrivals(t *testing.T) (o *origin, heads chan string, bodies chan string) {
	t.Helper()
	o = newOrigin(t)
	heads, bodies = make(chan string, 10), make(chan string, 10)
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heads <- fmt.Sprint(r.Method, " ", r.ContentLength)
		body, _ := io.ReadAll(r.Body)
		bodies <- fmt.Sprint(len(body), " ", r.Trailer.Get("X-Sum"))
	})
	return o, heads, bodies
}

// A body is read before the upstream is asked where the route says so and it is not too long; else it streams.
func TestRequestBuffering(t *testing.T) {
	t.Parallel()
	const late = "the rest\r\n"
	for name, test := range map[string]struct {
		buffering bool
		head      string
		size      int // of the first part
		early     bool
		seen      string
	}{
		"counted":                    {true, "Content-Length: 110", 100, false, "POST 110"},
		"chunked":                    {true, "Transfer-Encoding: chunked", 100, false, "POST 110"},
		"chunked, and long":          {true, "Transfer-Encoding: chunked", 300_000, false, "POST 300010"},
		"too long":                   {true, "Content-Length: 2000010", 2_000_000, true, "POST 2000010"},
		"chunked and too long":       {true, "Transfer-Encoding: chunked", 2_000_000, true, "POST -1"},
		"counted, switched off":      {false, "Content-Length: 60010", 60_000, true, "POST 60010"},
		"chunked, switched off":      {false, "Transfer-Encoding: chunked", 100, true, "POST -1"},
		"with trailers":              {true, "Transfer-Encoding: chunked\r\nTrailer: X-Sum", 100, false, "POST -1"},
		"waits for 100, then counts": {true, "Content-Length: 110\r\nExpect: 100-continue", 100, false, "POST 110"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, heads, bodies := arrivals(t)
			g := newGateway(t, proxy.Options{}, o.service("s"), route("r", "s", func(m *configv1.Route) { m.RequestBuffering = &test.buffering }))
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			chunked := strings.Contains(test.head, "chunked")
			part := func(text string) string {
				if chunked {
					return fmt.Sprintf("%x\r\n%s\r\n", len(text), text)
				}
				return text
			}
			r := bufio.NewReader(conn)
			fmt.Fprintf(conn, "POST /r HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.head)
			if strings.Contains(test.head, "Expect") {
				if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100 ") {
					t.Fatalf("%q", line)
				}
				_, _ = r.ReadString('\n')
			}
			_, _ = io.WriteString(conn, part(strings.Repeat("x", test.size)))
			if test.early {
				if got := <-heads; got != test.seen {
					t.Fatalf("the upstream was asked %q", got)
				}
			} else {
				select {
				case got := <-heads:
					t.Fatalf("the upstream was asked %q before the body was there", got)
				case <-time.After(50 * time.Millisecond): // long enough for a fault to show most times
				}
			}
			_, _ = io.WriteString(conn, part(late))
			if chunked {
				trailer := ""
				if strings.Contains(test.head, "Trailer") {
					trailer = "X-Sum: 7\r\n"
				}
				_, _ = io.WriteString(conn, "0\r\n"+trailer+"\r\n")
			}
			if !test.early {
				if got := <-heads; got != test.seen {
					t.Fatalf("the upstream was asked %q", got)
				}
			}
			sum := ""
			if strings.Contains(test.head, "Trailer") {
				sum = "7"
			}
			if got, want := <-bodies, fmt.Sprint(test.size+len(late), " ", sum); got != want {
				t.Fatalf("the upstream got %q, want %q", got, want)
			}
			if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != 200 {
				t.Fatalf("%v, %v", response, err)
			}
		})
	}
}

// A buffered body that is cut or malformed reaches no upstream at all.
func TestBufferedBodiesThatFail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ raw, status string }{
		"malformed": {"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", "HTTP/1.1 400 "},
		"cut":       {"Content-Length: 100\r\n\r\nabc", "HTTP/1.1 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, heads, _ := arrivals(t)
			g := newGateway(t, proxy.Options{}, o.service("s"), route("r", "s"))
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			fmt.Fprint(conn, "POST /r HTTP/1.1\r\nHost: a\r\n", test.raw)
			_ = conn.(*net.TCPConn).CloseWrite()
			if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), test.status) {
				t.Errorf("%q", got)
			}
			select {
			case got := <-heads:
				t.Errorf("the upstream was asked %q", got)
			default:
			}
		})
	}
}
