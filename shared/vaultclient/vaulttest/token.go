package vaulttest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// token is who may do what until when.
type token struct {
	policies  []string
	expires   time.Time // zero: never
	period    time.Duration
	ttl       time.Duration // as it was made with
	renewable bool
	accessor  string
}

// role lets the holders of a service account's token in.
type role struct {
	jwt      string
	policies []string
	ttl      time.Duration
}

// Role lets whoever has the service account token jwt log in at auth/kubernetes/login.
func (s *Server) Role(name, jwt string, ttl time.Duration, policies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[name] = role{jwt, policies, ttl}
}

// Token makes a token. ttl 0: it does not expire.
func (s *Server) Token(ttl time.Duration, policies ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := s.newToken(ttl, 0, true, policies)
	return id
}

// Tokens is how many tokens are good now, without the root token.
func (s *Server) Tokens() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.tokens {
		if id != s.Root && s.valid(id) != nil {
			n++
		}
	}
	return n
}

func (s *Server) newToken(ttl, period time.Duration, renewable bool, policies []string) (string, *token) {
	if period > 0 {
		ttl = period
	}
	t := &token{policies: policies, period: period, ttl: ttl, renewable: renewable && ttl > 0, accessor: random(24)}
	if ttl > 0 {
		t.expires = s.now().Add(ttl)
	}
	id := "hvs." + random(24)
	s.tokens[id] = t
	return id, t
}

func (s *Server) valid(id string) *token {
	t := s.tokens[id]
	if t == nil || (!t.expires.IsZero() && !s.now().Before(t.expires)) {
		return nil
	}
	return t
}

func (s *Server) login(c *call) answer {
	if c.method != http.MethodPost && c.method != http.MethodPut {
		return refuse(http.StatusMethodNotAllowed, "unsupported operation")
	}
	name, _ := c.body["role"].(string)
	jwt, _ := c.body["jwt"].(string)
	switch r, ok := s.roles[name]; {
	case jwt == "":
		return refuse(http.StatusBadRequest, "missing jwt")
	case !ok:
		return refuse(http.StatusBadRequest, `invalid role name "`+name+`"`)
	case r.jwt != jwt:
		return refuse(http.StatusForbidden, "permission denied")
	default:
		id, t := s.newToken(r.ttl, 0, true, append([]string{"default"}, r.policies...))
		return answer{status: 200, auth: s.auth(id, t)}
	}
}

func (s *Server) auth(id string, t *token) map[string]any {
	left := time.Duration(0)
	if !t.expires.IsZero() {
		left = t.expires.Sub(s.now())
	}
	return map[string]any{
		"client_token": id, "accessor": t.accessor, "policies": t.policies, "token_policies": t.policies, "metadata": nil,
		"lease_duration": int64(left.Round(time.Second).Seconds()), "renewable": t.renewable, "token_type": "service", "orphan": true,
	}
}

func (s *Server) tokenCall(c *call) answer {
	switch strings.TrimPrefix(c.path, "auth/token/") {
	case "create":
		policies := texts(c.body["policies"])
		if no, _ := c.body["no_default_policy"].(bool); !no && !slices.Contains(policies, "default") {
			policies = append([]string{"default"}, policies...)
		}
		renewable, given := c.body["renewable"].(bool)
		id, t := s.newToken(duration(c.body["ttl"]), duration(c.body["period"]), renewable || !given, policies)
		return answer{status: 200, auth: s.auth(id, t)}
	case "lookup-self":
		a := s.auth(c.id, c.token)
		return answer{status: 200, data: map[string]any{
			"id": c.id, "accessor": c.token.accessor, "policies": c.token.policies, "ttl": a["lease_duration"], "renewable": c.token.renewable,
			"creation_ttl": int64(c.token.ttl.Seconds()), "type": "service", "path": "auth/token/create", "num_uses": 0,
		}}
	case "renew-self":
		if !c.token.renewable {
			return refuse(http.StatusBadRequest, "lease is not renewable")
		}
		c.token.expires = s.now().Add(c.token.ttl)
		return answer{status: 200, auth: s.auth(c.id, c.token)}
	case "revoke-self":
		delete(s.tokens, c.id)
		return answer{status: http.StatusNoContent}
	}
	return refuse(http.StatusNotFound, "unsupported path")
}

func texts(list any) (found []string) {
	items, _ := list.([]any)
	for _, item := range items {
		if text, ok := item.(string); ok {
			found = append(found, text)
		}
	}
	return found
}

// duration reads "90s" or a number of seconds.
func duration(value any) time.Duration {
	switch v := value.(type) {
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d
		}
	case float64:
		return time.Duration(v * float64(time.Second))
	}
	return 0
}
