package harness

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
)

// Upstream is a service that answers every request with what it saw of it, and remembers it.
type Upstream struct {
	URL    string // http://127.0.0.1:port
	server *httptest.Server

	mu   sync.Mutex
	seen []Seen // guarded by mu
}

// Seen is a request as it reached an upstream.
type Seen struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
	Whole             bool // all of the body came
}

// NewUpstream starts an upstream. It ends with the test.
func NewUpstream(t T) *Upstream {
	u := &Upstream{}
	u.server = httptest.NewServer(http.HandlerFunc(u.serve))
	u.URL = u.server.URL
	t.Cleanup(u.server.Close)
	return u
}

func (u *Upstream) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	seen := Seen{r.Method, r.RequestURI, r.Host, r.Header, string(body), err == nil}
	u.mu.Lock()
	u.seen = append(u.seen, seen)
	u.mu.Unlock()
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen) // the client may have gone
}

// Address is its host:port.
func (u *Upstream) Address() string { return u.server.Listener.Addr().String() }

// Seen returns what has reached it so far.
func (u *Upstream) Seen() []Seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.seen)
}

// Forget starts the memory anew.
func (u *Upstream) Forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = nil
}

// EchoOf reads an answer that came from an [Upstream].
func EchoOf(t T, answer Answer) Seen {
	t.Helper()
	var seen Seen
	if err := json.Unmarshal([]byte(answer.Body), &seen); err != nil {
		t.Fatalf("%d %q is no echo: %v", answer.Status, answer.Body, err)
	}
	return seen
}
