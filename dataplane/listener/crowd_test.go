package listener_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/shared/selfsigned"
)

// Whoever is there is sent away, whatever is under way and whichever engine serves it; who comes later, or has left, is not.
func TestWhoIsPresentIsSevered(t *testing.T) {
	t.Parallel()
	cert, _, err := selfsigned.Load(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for name, native := range map[string]bool{"native": true, "std": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, native, "127.0.0.1:0 http2, 127.0.0.1:0 ssl http2", listener.Options{Certificate: always(&cert)})
			secure := func() net.Conn {
				nc := tls.Client(dialed(t, f.addrs[1]), &tls.Config{InsecureSkipVerify: true})
				if err := nc.Handshake(); err != nil {
					t.Fatal(err)
				}
				return nc
			}
			silent, idle := secure(), dialed(t, f.addrs[0])
			_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			_, _ = io.ReadFull(idle, make([]byte, 12)) // it is known by now
			ended := make(chan error, 4)
			for _, via := range []struct {
				url, addr string
				protocols func(*http.Protocols)
			}{
				{"http://x.test/hold", f.addrs[0], func(p *http.Protocols) { p.SetHTTP1(true) }},
				{"http://x.test/hold", f.addrs[0], func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
				{"https://x.test/hold", f.addrs[1], func(p *http.Protocols) { p.SetHTTP1(true) }},
				{"https://x.test/hold", f.addrs[1], func(p *http.Protocols) { p.SetHTTP2(true) }},
			} {
				visitor := client(via.addr, "x.test", nil, via.protocols)
				visitor.Timeout = 30 * time.Second
				go func() {
					response, err := visitor.Get(via.url)
					if err == nil {
						_ = response.Body.Close()
					}
					ended <- err
				}()
				<-f.handler.entered
			}
			sever := f.Present()
			later := secure()
			if n := sever(); n != 6 {
				t.Errorf("%d connections were ended, want 6", n)
			}
			for range cap(ended) {
				if err := <-ended; err == nil || isTimeout(err) {
					t.Errorf("a request under way ends with %v", err)
				}
			}
			for _, nc := range []io.Reader{idle, silent} {
				if _, err := io.ReadAll(nc); isTimeout(err) {
					t.Error("a silent connection stays open")
				}
			}
			_, _ = io.WriteString(later, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if rest, err := io.ReadAll(later); err != nil || len(rest) == 0 {
				t.Errorf("who came later got %q, %v", rest, err)
			}
			close(f.handler.hold)
			for deadline := time.Now().Add(30 * time.Second); f.Present()() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("connections that were closed count as open")
				}
			}
		})
	}
}
