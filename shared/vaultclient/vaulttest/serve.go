package vaulttest

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

const maxBody = 1 << 20

// call is one request on its way to an answer.
type call struct {
	server *Server
	method string // LIST for a list
	path   string // below /v1
	body   map[string]any
	query  func(name string) string
	header http.Header
	token  *token // nil: none, or not a good one
	id     string // of the token
}

// answer is what is sent. data goes into Vault's envelope, raw does not.
type answer struct {
	status int
	data   any
	auth   any
	raw    any
	errors []string
}

func refuse(status int, errors ...string) answer {
	if errors == nil {
		errors = []string{}
	}
	return answer{status: status, errors: errors}
}

func denied() answer {
	return refuse(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	method := r.Method
	if method == http.MethodGet && r.URL.Query().Get("list") == "true" {
		method = "LIST"
	}
	if method == "LIST" && !strings.HasSuffix(path, "/") {
		path += "/" // as Vault has it, also where policies are asked
	}
	if f := s.fault(method, path); f != nil && f.strike(w, r) {
		s.note(Request{method, path, r.URL.RawQuery, r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Namespace"), f.Status})
		return
	}
	c := &call{server: s, method: method, path: path, query: r.URL.Query().Get, header: r.Header, id: r.Header.Get("X-Vault-Token")}
	if data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err == nil && len(data) > 0 {
		if json.Unmarshal(data, &c.body) != nil {
			s.send(w, c, refuse(http.StatusBadRequest, "failed to parse JSON input: invalid character"))
			return
		}
	}
	s.mu.Lock()
	if active := s.active; active != "" && !strings.HasPrefix(path, "sys/health") {
		s.mu.Unlock()
		w.Header().Set("Location", active+r.URL.RequestURI())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	a := s.handle(c)
	s.mu.Unlock()
	s.send(w, c, a)
}

func (s *Server) note(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
}

// handle is called with s.mu held.
func (s *Server) handle(c *call) answer {
	switch {
	case strings.HasPrefix(c.path, "sys/health"):
		return s.health(c)
	case c.path == "sys/seal-status":
		return answer{status: 200, raw: map[string]any{"sealed": s.sealed, "initialized": true, "t": 1, "n": 1, "progress": 0, "version": "1.0.0-test"}}
	case s.sealed:
		return refuse(http.StatusServiceUnavailable, "Vault is sealed")
	case s.limited:
		return refuse(473, "performance standby")
	case strings.HasPrefix(c.path, "auth/kubernetes/login"):
		return s.login(c)
	}
	c.token = s.valid(c.id)
	if c.id == "" {
		return refuse(http.StatusForbidden, "missing client token")
	}
	if c.token == nil {
		return refuse(http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	}
	if !s.allowed(c) {
		return denied()
	}
	switch {
	case strings.HasPrefix(c.path, "sys/"):
		return s.system(c)
	case strings.HasPrefix(c.path, "auth/token/"):
		return s.tokenCall(c)
	}
	for mount, store := range s.mounts {
		if below, ok := strings.CutPrefix(c.path, mount); ok {
			return store.call(c, below)
		}
	}
	for mount, transit := range s.transits {
		if below, ok := strings.CutPrefix(c.path, mount); ok {
			return transit.call(c, below)
		}
	}
	return refuse(http.StatusNotFound, `no handler for route "`+c.path+`". route entry not found.`)
}

func (s *Server) send(w http.ResponseWriter, c *call, a answer) {
	s.note(Request{c.method, c.path, "", c.id, c.header.Get("X-Vault-Namespace"), a.status})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	var body any
	switch {
	case a.raw != nil:
		body = a.raw
	case a.errors != nil:
		body = map[string]any{"errors": a.errors}
	case a.status == http.StatusNoContent:
		w.WriteHeader(a.status)
		return
	default:
		body = map[string]any{
			"request_id": random(16), "lease_id": "", "renewable": false, "lease_duration": 0, "data": a.data,
			"wrap_info": nil, "warnings": nil, "auth": a.auth,
		}
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(body) // the client went away
}

// random is n letters and digits.
func random(n int) string { return (rand.Text() + rand.Text())[:min(n, 52)] }

func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(time.RFC3339Nano)
}
