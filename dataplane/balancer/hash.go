package balancer

import (
	"crypto/rand"
	"strings"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Input is what of a request is hashed.
type Input struct {
	Kind InputKind
	Name string // of the header, cookie, parameter or capture
}

// InputKind is a kind of input.
type InputKind uint8

// The inputs, as hash_on and hash_fallback name them.
const (
	NoInput InputKind = iota
	Consumer
	IP
	Header
	Cookie
	Path
	QueryArg
	URICapture
)

// Hash is what requests hash to: the first input that a request has. CookiePath is the path of the cookie that is set where
// the first input is a cookie and the request has none.
type Hash struct {
	On, Fallback Input
	CookiePath   string
}

// Captures are what a route's expression took from a path; *table.Match has them.
type Captures interface {
	Captures(path string, visit func(number int, name, value string))
}

// Aim gives t what the request hashes to, if its upstream asks for that. When the request has to be given a cookie, Aim
// returns the field value to set it with.
func (u *Upstream) Aim(ex *exchange.Exchange, captures Captures, t *Try) (setCookie string) {
	h := &u.spec.Hash
	if u.spec.Algorithm != ConsistentHashing || h.On.Kind == NoInput {
		return ""
	}
	if value, ok := h.On.of(ex, captures); ok {
		t.SetKey(hashOf(value))
		return ""
	}
	if h.On.Kind == Cookie {
		id, err := uuid.NewRandomFromReader(rand.Reader)
		if err != nil {
			return ""
		}
		value := id.String()
		t.SetKey(hashOf(value))
		return ex.Join(h.On.Name, "=", value, "; Path=", h.CookiePath)
	}
	if value, ok := h.Fallback.of(ex, captures); ok {
		t.SetKey(hashOf(value))
	}
	return ""
}

// of finds the input in a request.
func (i *Input) of(ex *exchange.Exchange, captures Captures) (value string, ok bool) {
	r := &ex.Request
	switch i.Kind {
	case Consumer:
		if value = ex.Consumer.ID; value == "" {
			value = ex.Consumer.CredentialID
		}
	case IP:
		addr := r.ClientAddr.Unmap().As16()
		value = ex.Copy(addr[:])
	case Header:
		value = r.Header.Get(i.Name)
	case Cookie:
		value = cookie(ex, i.Name)
	case Path:
		value = r.Path
	case QueryArg:
		value = parameter(r.RawQuery, i.Name)
	case URICapture:
		if captures != nil {
			captures.Captures(r.Path, func(_ int, name, found string) {
				if name == i.Name {
					value = found
				}
			})
		}
	}
	return value, value != ""
}

// cookie is the value of the request's first cookie of a name (RFC 6265 §4.2.1).
func cookie(ex *exchange.Exchange, name string) string {
	for rest := ex.Request.Header.Get("Cookie"); rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, ";")
		if key, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && key == name {
			return value
		}
	}
	return ""
}

// parameter is the first value of a query's parameter, as it was sent.
func parameter(query, name string) string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}
