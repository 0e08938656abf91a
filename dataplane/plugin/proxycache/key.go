package proxycache

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// scratch is where keys are put together.
type scratch struct {
	text       []byte
	parameters []parameter
}

type parameter struct{ name, text string }

// identified tells what a matched route is called; those of dataplane/table do.
type identified interface{ Identity() (id, name string) }

// names are what a response is asked for by.
type names struct {
	key  cachestore.Name // as it is shown, and purged by: the same at every data plane
	name cachestore.Name // that it is kept by
}

// name makes the names of a response to the request, were its method that one. The key is made of what Kong's is: the route, the consumer,
// the method, the path, the parameters and the headers of vary_headers; and of the plugin's entity, so that two of them share nothing. What
// else the upstream learns and may answer by makes further responses with the same key: scheme and host, what trusted proxies say of
// the way, what a plugin has rewritten, and whether there is an Authorization.
func (i *instance) name(ex *exchange.Exchange, method string) (of names) {
	s, _ := i.shared.scratch.Get().(*scratch)
	r := &ex.Request
	s.text = s.text[:0]
	route := ""
	if matched, ok := ex.Route.(identified); ok {
		route, _ = matched.Identity()
	}
	s.add(i.id)
	s.add(ex.Consumer.ID)
	s.add(route)
	s.add(method)
	at := len(s.text)
	if s.add(r.Path); i.foldPath {
		exchange.Lower(s.text[at+4:]) // not the length
	}
	s.addParameters(r.RawQuery, i.parameters)
	for _, header := range i.headers {
		s.addHeader(&r.Header, header)
	}
	of.key = sha256.Sum256(s.text)
	s.text = append(s.text[:0], of.key[:]...)
	s.add(r.SchemeOfClient())
	s.add(r.Host)
	s.add(ex.Rewritten.Path)
	s.add(ex.Rewritten.Host)
	for n := range r.Header.Len() {
		f := r.Header.At(n)
		switch {
		case len(f.Name) == len("Authorization") && exchange.EqualFold(f.Name, "Authorization"):
			s.add("authorization")
		case describesWay(f.Name):
			s.add(f.Name[len("X-Forwarded-"):])
			s.add(f.Value)
		}
	}
	of.name = sha256.Sum256(s.text)
	clear(s.parameters)
	i.shared.scratch.Put(s)
	return of
}

// describesWay says whether a header is passed on to upstreams when a trusted proxy has sent it, and names no single client.
func describesWay(name string) bool {
	const prefix = "X-Forwarded-"
	if len(name) <= len(prefix) || name[0]|0x20 != 'x' || !exchange.EqualFold(name[:len(prefix)], prefix) {
		return false
	}
	rest := name[len(prefix):]
	return exchange.EqualFold(rest, "Host") || exchange.EqualFold(rest, "Port") || exchange.EqualFold(rest, "Path") || exchange.EqualFold(rest, "Prefix")
}

func (s *scratch) add(part string) {
	s.text = binary.BigEndian.AppendUint32(s.text, uint32(len(part)))
	s.text = append(s.text, part...)
}

// addHeader adds all values of a header, and tells none from an empty one.
func (s *scratch) addHeader(header *exchange.Header, name string) {
	count := 0
	for n := range header.Len() {
		if f := header.At(n); len(f.Name) == len(name) && exchange.EqualFold(f.Name, name) {
			s.add(f.Value)
			count++
		}
	}
	s.text = binary.BigEndian.AppendUint32(s.text, uint32(count))
}

// addParameters adds the parameters of a query, by name; those of one name stay in their order. only names those that count.
func (s *scratch) addParameters(query string, only []string) {
	s.parameters = s.parameters[:0]
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, _, _ := strings.Cut(pair, "=")
		if only != nil && !slices.Contains(only, decoded(name)) {
			continue
		}
		s.parameters = append(s.parameters, parameter{name, pair})
	}
	slices.SortStableFunc(s.parameters, func(a, b parameter) int { return cmp.Compare(a.name, b.name) })
	for _, p := range s.parameters {
		s.add(p.text)
	}
	s.text = binary.BigEndian.AppendUint32(s.text, uint32(len(s.parameters)))
}

func decoded(name string) string {
	if !strings.ContainsAny(name, "%+") {
		return name
	}
	if plain, err := url.QueryUnescape(name); err == nil {
		return plain
	}
	return name
}

// variant is the name of a response that differs by these headers of the request.
func (i *instance) variant(primary cachestore.Name, header *exchange.Header, names []string) cachestore.Name {
	s, _ := i.shared.scratch.Get().(*scratch)
	s.text = append(s.text[:0], primary[:]...)
	for _, name := range names {
		s.add(name)
		s.addHeader(header, name)
	}
	sum := cachestore.Name(sha256.Sum256(s.text))
	i.shared.scratch.Put(s)
	return sum
}

// keyText is the key as clients and operators see it.
func keyText(ex *exchange.Exchange, name *cachestore.Name) string {
	b := ex.Bytes(2 * len(name))
	hex.Encode(b, name[:])
	return exchange.View(b)
}
