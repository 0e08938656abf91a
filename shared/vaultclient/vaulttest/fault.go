package vaulttest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is what the server does instead of what it ought to.
type Fault struct {
	Method, Path string        // "" is any; a path counts from its beginning, below /v1
	Times        int           // how often; 0: until [Server.Heal]
	Slow         time.Duration // wait before anything else
	Status       int           // answer with this status, as 429 or 500
	RetryAfter   int           // seconds, with Status
	Body         string        // with Status
	Cut          bool          // break the connection in the middle of the answer
	Hang         bool          // never answer
}

// Fault lets requests go wrong from now on. Of several that fit, the one that came last counts.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) fault(method, path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.faults) - 1; i >= 0; i-- {
		f := &s.faults[i]
		if f.Times == 0 || (f.Method != "" && f.Method != method) || !strings.HasPrefix(path, f.Path) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		found := *f
		return &found
	}
	return nil
}

// strike reports whether there is nothing more to answer.
func (f *Fault) strike(w http.ResponseWriter, r *http.Request) bool {
	if f.Slow > 0 {
		select {
		case <-time.After(f.Slow):
		case <-r.Context().Done():
		}
	}
	switch {
	case f.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or else an empty answer might still be read
	case f.Cut:
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(`{"data":{"da`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // net/http's way to break a connection
	case f.Status == 0:
		return false
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	body := f.Body
	if body == "" {
		body = `{"errors":["a fault on demand"]}`
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(body)) // the client went away
	return true
}

// Seal makes the server answer that it is sealed, or what it holds again.
func (s *Server) Seal(sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
}

// Standby makes the server point to the active node, as one that forwards nothing; "" makes it active.
func (s *Server) Standby(active string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = active
}

// Performance makes the server a performance standby that answers 473.
func (s *Server) Performance(standby bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limited = standby
}
