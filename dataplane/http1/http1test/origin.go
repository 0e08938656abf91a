package http1test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Seen is one request as it reached the origin.
type Seen struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
	Trailer           http.Header
	Length            int64
	Encoding          []string
	Err               error
}

// Origin is an upstream that records what reaches it and answers by path.
type Origin struct {
	Addr string
	mu   sync.Mutex
	seen []Seen // guarded by mu
	hold chan struct{}
}

// NewOrigin starts an origin that ends with the test.
func NewOrigin(t testing.TB) *Origin {
	o := &Origin{hold: make(chan struct{})}
	server := httptest.NewServer(o)
	o.Addr = server.Listener.Addr().String()
	t.Cleanup(server.Close)
	return o
}

// Seen returns what has arrived so far.
func (o *Origin) Seen() []Seen {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Seen(nil), o.seen...)
}

// Release lets one held request go on.
func (o *Origin) Release() { o.hold <- struct{}{} }

func (o *Origin) record(s Seen) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, s)
}

// ServeHTTP answers by path; see the cases of the suite.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/early" { // answers before the body has come
		o.record(Seen{Method: r.Method, URI: r.RequestURI})
		w.Header().Set("Connection", "close")
		http.Error(w, "enough", http.StatusRequestEntityTooLarge)
		return
	}
	body, err := io.ReadAll(r.Body)
	o.record(Seen{r.Method, r.RequestURI, r.Host, r.Header.Clone(), string(body), r.Trailer.Clone(), r.ContentLength, r.TransferEncoding, err})
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/status/"):
		var code int
		_, _ = fmt.Sscanf(path, "/status/%d", &code)
		w.Header().Set("X-Origin", "yes")
		w.WriteHeader(code)
	case path == "/echo":
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(body)
	case path == "/large":
		w.Header().Set("Content-Length", "1000000")
		_, _ = io.WriteString(w, strings.Repeat("0123456789", 100_000))
	case path == "/chunked":
		for i := range 20 {
			_, _ = io.WriteString(w, strings.Repeat(fmt.Sprint(i%10), 5000))
			w.(http.Flusher).Flush()
		}
	case path == "/trailers":
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
	case path == "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-o.hold
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	case path == "/hold":
		select {
		case <-o.hold:
			_, _ = io.WriteString(w, "held")
		case <-r.Context().Done():
			o.record(Seen{URI: "gone"})
		}
	case path == "/slow":
		time.Sleep(300 * time.Millisecond)
	case path == "/cut":
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "only this")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case path == "/hints":
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "after hints")
	default:
		w.Header().Set("X-Origin", "yes")
		_, _ = io.WriteString(w, "hello "+r.RequestURI)
	}
}
