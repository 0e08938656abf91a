package http1test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

func interim(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, body := c.Response("GET"); resp.StatusCode != 200 || body != "after hints" || resp.Header.Get("Link") != "" {
		t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
	}
}

func hopByHop(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Consumer-Username, Content-Length\r\nX-Consumer-Username: forged\r\n" +
		"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" +
		"Connection: Upgrade, HTTP2-Settings\r\nX-Kept: yes\r\nContent-Length: 4\r\n\r\nbody")
	if resp, body := c.Response("POST"); resp.StatusCode != 200 || body != "body" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	seen := b.origin.Seen()[0]
	for _, name := range []string{"X-Consumer-Username", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade", "Http2-Settings"} {
		if seen.Header.Get(name) != "" {
			t.Errorf("%s: %s reached the origin", name, seen.Header.Get(name))
		}
	}
	if seen.Header.Get("X-Kept") != "yes" || seen.Length != 4 || seen.Body != "body" {
		t.Errorf("the origin saw %+v", seen)
	}
}

func onePath(t *testing.T, b bench) {
	c := Dial(t, b.addr)
	for raw, want := range map[string]string{
		"/a/../b//c/./%64%2f%c3%a9?q=/../x": "/b/c/d%2F%C3%A9?q=/../x", "/%2e%2e/secret": "/secret", "/a%20b": "/a%20b", "/?": "/?", "/~x": "/~x",
	} {
		c.Send("GET " + raw + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, body := c.Response("GET"); body != "hello "+want {
			t.Errorf("%s: %q, want %q", raw, body, want)
		}
	}
	c.Send("GET http://a/abs?x HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := c.Response("GET"); body != "hello /abs?x" {
		t.Errorf("absolute form: %q", body)
	}
}

func silentUpstream(t *testing.T, b bench) {
	b.proxy.ReadTimeout = 50 * time.Millisecond
	c := Dial(t, b.addr)
	c.Send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, _ := c.Response("GET"); resp.StatusCode != 504 {
		t.Fatalf("%d", resp.StatusCode)
	}
	b.proxy.ReadTimeout = 5 * time.Second
	c.Send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := c.Response("GET"); body != "hello /next" {
		t.Fatalf("the late response was taken for another: %q", body)
	}
}

func finished(t *testing.T, b bench) {
	b.proxy.Local = func(ex *exchange.Exchange) bool {
		ex.Answer(403, "text/plain", []byte("no"))
		return true
	}
	c := Dial(t, b.addr)
	c.Send("POST /x/../y HTTP/1.1\r\nHost: A\r\nContent-Length: 4\r\n\r\nbody") // the handler does not read it
	if resp, body := c.Response("POST"); resp.StatusCode != 403 || body != "no" {
		t.Fatalf("%d %q", resp.StatusCode, body)
	}
	c.Send("GET /z HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Response("GET")
	done := b.proxy.Await(t, 2)
	if d := done[0]; d.Method != "POST" || d.Path != "/y" || d.Host != "a" || d.Status != 403 || d.Sent.BodyBytes != 2 || len(d.ID) != 32 || d.Sent.Err != nil {
		t.Fatalf("%+v", d)
	}
	if done[0].ID == done[1].ID {
		t.Fatal("two exchanges, one ID")
	}
}

// websocketOrigin switches protocols and echoes.
func websocketOrigin(t *testing.T) string {
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
				req, err := http.ReadRequest(r)
				if err != nil || !strings.EqualFold(req.Header.Get("Upgrade"), "websocket") {
					return
				}
				_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhi")
				_, _ = io.Copy(nc, r)
			}()
		}
	}()
	return l.Addr().String()
}

func websocket(t *testing.T, b bench) {
	b.proxy.Addr = websocketOrigin(t)
	c := Dial(t, b.addr)
	c.Send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\nearly")
	resp := c.Head("GET")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "x" || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	c.Send(" and late")
	want := "hiearly and late"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
	c.Close()
	b.proxy.Await(t, 1)
}

func noAnswer(t *testing.T, b bench) {
	b.proxy.Local = func(*exchange.Exchange) bool { return true }
	c := Dial(t, b.addr)
	c.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Closed()
}
