package plugintest

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// Origin is the upstream. It answers with what it got, see [Echo].
type Origin struct {
	URL string

	requests atomic.Int64
	mu       sync.Mutex
	answer   http.HandlerFunc // guarded by mu; instead of the echo
	last     Echo             // guarded by mu
}

func newOrigin(t testing.TB) *Origin {
	o := &Origin{}
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	o.URL = server.URL
	return o
}

// Answer makes the origin answer otherwise; nil brings the echo back.
func (o *Origin) Answer(f http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = f
}

// Requests is how many requests reached the origin.
func (o *Origin) Requests() int64 { return o.requests.Load() }

// Last is the last request that reached the origin.
func (o *Origin) Last() Echo {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// ServeHTTP implements http.Handler.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	echo := Echo{r.Method, r.RequestURI, r.Host, r.Header, string(body)}
	o.mu.Lock()
	answer := o.answer
	o.last = echo
	o.mu.Unlock()
	o.requests.Add(1)
	if answer != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Origin", "echo")
	_ = json.NewEncoder(w).Encode(echo)
}

// quietOrigin answers every request without a body with the same bytes and allocates nothing.
func quietOrigin(t testing.TB) (url string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}")
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 32<<10)
				for {
					n, err := conn.Read(buffer) // a head comes in one piece here
					if err != nil {
						return
					}
					if !bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
						continue
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}
