package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// chat is an upstream that echoes messages, and ends the conversation when it is asked to.
func chat(t *testing.T, secure bool) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"second", "chat"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		_ = c.Write(r.Context(), websocket.MessageText, []byte(r.Header.Get("X-Consumer-Username")+" at "+r.URL.Path))
		for {
			kind, message, err := c.Read(r.Context())
			if err != nil {
				return
			}
			switch {
			case string(message) == "goodbye":
				_ = c.Close(4321, "as you wish")
				return
			case string(message) == "drop":
				return
			}
			if c.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	}))
	if secure {
		o.StartTLS()
	} else {
		o.Start()
	}
	t.Cleanup(o.Close)
	addr := o.Listener.Addr().(*net.TCPAddr)
	o.host, o.port = addr.IP.String(), int64(addr.Port)
	return o
}

// front serves the gateway once more, over TLS if secure, and returns the address, a client for it and the server.
func (g *gateway) front(t *testing.T, secure bool) (addr string, client *http.Client, s server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = "ws://" + l.Addr().String()
	if secure {
		certificate, _, _ := pair(t, "gate.test", false, nil)
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}})
		addr = "wss://" + l.Addr().String()
	}
	s = g.engine.server(t, proxy.New(g.holder, proxy.Options{}))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = l.Close()
		ctx, cancel := contextWithTimeout()
		defer cancel()
		_ = s.Shutdown(ctx)
		<-done
	})
	return addr, &http.Client{Transport: transport}, s
}

// TestWebSocket speaks to a real server with a real client, in clear and over TLS on both sides.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"in clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := chat(t, secure)
			fp := newKeys()
			g := newGateway(t, proxy.Options{}, o.service("s", func(m *configv1.Service) {
				if secure {
					m.Protocol, m.TlsVerify = new("https"), new(false)
				}
			}), route("ws", "s"), fp.entity(), consumer("c", "alice"), fp.credential("k", "c", "secret"), plug(t, "p", "key-auth", keyAuth(), onRoute("ws")))
			addr, client, _ := g.front(t, secure)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if _, response, err := websocket.Dial(ctx, addr+"/ws", &websocket.DialOptions{HTTPClient: client}); err == nil || response.StatusCode != 401 {
				t.Fatalf("without a key: %v", response)
			}
			dial := func() *websocket.Conn {
				c, response, err := websocket.Dial(ctx, addr+"/ws/room", &websocket.DialOptions{
					HTTPClient: client, Subprotocols: []string{"first", "chat"}, HTTPHeader: http.Header{"Apikey": {"secret"}},
				})
				if err != nil {
					t.Fatal(err)
				}
				if c.Subprotocol() != "chat" || response.Header.Get("Via") == "" {
					t.Errorf("subprotocol %q, %v", c.Subprotocol(), response.Header)
				}
				c.SetReadLimit(-1)
				if _, hello, err := c.Read(ctx); err != nil || string(hello) != "alice at /room" {
					t.Fatalf("%q, %v", hello, err)
				}
				return c
			}
			c := dial()
			large := make([]byte, 3<<20)
			_, _ = rand.Read(large)
			for _, message := range []struct {
				kind websocket.MessageType
				data []byte
			}{{websocket.MessageText, []byte("héllo")}, {websocket.MessageBinary, []byte{0, 255, 10, 13}}, {websocket.MessageText, nil}, {websocket.MessageBinary, large}} {
				go c.Write(ctx, message.kind, message.data)
				if kind, got, err := c.Read(ctx); err != nil || kind != message.kind || !bytes.Equal(got, message.data) {
					t.Fatalf("%d bytes of kind %v, %v; want %d", len(got), kind, err, len(message.data))
				}
			}
			reading := c.CloseRead(ctx)
			if err := c.Ping(ctx); err != nil {
				t.Fatalf("ping: %v", err)
			}
			if err := c.Write(ctx, websocket.MessageText, []byte("goodbye")); err != nil {
				t.Fatal(err)
			}
			<-reading.Done()

			c = dial()
			_ = c.Write(ctx, websocket.MessageText, []byte("goodbye"))
			var end websocket.CloseError
			if _, _, err := c.Read(ctx); !errors.As(err, &end) || end.Code != 4321 || end.Reason != "as you wish" {
				t.Fatalf("the upstream's goodbye came as %v", err)
			}
			c = dial()
			if err := c.Close(websocket.StatusNormalClosure, "enough"); err != nil {
				t.Fatalf("closing: %v", err)
			}
			c = dial()
			_ = c.Write(ctx, websocket.MessageText, []byte("drop"))
			if _, _, err := c.Read(ctx); err == nil || errors.As(err, &end) && end.Code == 4321 {
				t.Fatalf("an upstream that broke off looks like %v", err)
			}
		})
	}
}

// A conversation goes on while the gateway drains, until it ends or the time does.
func TestWebSocketDrains(t *testing.T) {
	t.Parallel()
	for name, patient := range map[string]bool{"ends in time": true, "is cut": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := chat(t, false)
			g := newGateway(t, proxy.Options{}, o.service("s"), route("ws", "s"))
			addr, client, s := g.front(t, false)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c, _, err := websocket.Dial(ctx, addr+"/ws", &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			_, _, _ = c.Read(ctx)
			draining, giveUp := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(draining) }()
			for range 3 {
				if err := c.Write(ctx, websocket.MessageText, []byte("still here")); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(ctx); err != nil || string(got) != "still here" {
					t.Fatalf("%q, %v", got, err)
				}
				select {
				case err := <-ended:
					t.Fatalf("drained with a conversation open: %v", err)
				case <-time.After(10 * time.Millisecond):
				}
			}
			if !patient {
				giveUp()
				if _, _, err := c.Read(ctx); err == nil {
					t.Error("not cut")
				}
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("drained: %v", err)
				}
				return
			}
			defer giveUp()
			_ = c.Close(websocket.StatusNormalClosure, "")
			if err := <-ended; err != nil {
				t.Errorf("drained: %v", err)
			}
		})
	}
}

// Either end's leaving ends the other's too, when only half of a connection is closed too.
func TestHalfClosedTunnels(t *testing.T) {
	t.Parallel()
	for name, upstreamLeaves := range map[string]bool{"the upstream": true, "the client": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			gone := make(chan string, 1)
			o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nlast words")
				_ = rw.Flush()
				if upstreamLeaves {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
				said, _ := io.ReadAll(rw)
				gone <- string(said)
			})
			g := newGateway(t, proxy.Options{}, o.service("s"), route("ws", "s"))
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nearly")
			r := bufio.NewReader(conn)
			if response, err := http.ReadResponse(r, nil); err != nil || response.StatusCode != 101 {
				t.Fatalf("%v, %v", response, err)
			}
			if !upstreamLeaves {
				_ = conn.(*net.TCPConn).CloseWrite()
			}
			heard, _ := io.ReadAll(r)
			if upstreamLeaves && !strings.HasSuffix(string(heard), "last words") {
				t.Errorf("the client heard %q", heard)
			}
			if said := <-gone; !upstreamLeaves && said != "early" {
				t.Errorf("the upstream heard %q", said)
			}
		})
	}
}
