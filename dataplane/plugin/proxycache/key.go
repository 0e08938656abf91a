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
// else the upstream learns and may answer by makes further responses with the same key: scheme and host, headers that steer, what a
// plugin has rewritten or looked up, and whether there is an Authorization; so does how the plugin makes names.
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
	s.add(i.naming)
	s.add(r.SchemeOfClient())
	s.add(r.Host)
	s.add(ex.Rewritten.Path)
	s.add(ex.Rewritten.Host)
	s.add(ex.Rewritten.Looked)
	for n := range r.Header.Len() {
		f := r.Header.At(n)
		switch {
		case len(f.Name) == len("Authorization") && exchange.EqualFold(f.Name, "Authorization"):
			s.add("authorization")
		case len(f.Name) == len("Forwarded") && exchange.EqualFold(f.Name, "Forwarded"):
			s.addForwarded(f.Value)
		case steers(f.Name):
			s.add(f.Name)
			s.add(f.Value)
		}
	}
	of.name = sha256.Sum256(s.text)
	clear(s.parameters)
	i.shared.scratch.Put(s)
	return of
}

// steers says whether a header is one that upstreams are known to take for another host, address, method or user than the request's
// own, whoever has sent it. Such a header would otherwise put into the cache what was never asked for by the others that it is
// served to. X-Forwarded-For names a single client, and the scheme is in the name already.
func steers(name string) bool {
	if len(name) < len("X-Host") || name[0]|0x20 != 'x' || name[1] != '-' && name[1] != '_' {
		return false
	}
	if len(name) > len("X-Forwarded-") && loosely(name[:len("X-Forwarded-")], "X-Forwarded-") {
		return !loosely(name, "X-Forwarded-For") && !loosely(name, "X-Forwarded-Proto")
	}
	for _, other := range [...]string{
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method", "X-Original-URL", "X-Original-URI", "X-Original-Host",
		"X-Rewrite-URL", "X-Host", "X-HTTP-Host-Override",
	} {
		if loosely(name, other) {
			return true
		}
	}
	return false
}

// loosely compares names as upstreams do that cannot tell "_" from "-".
func loosely(name, other string) bool {
	if len(name) != len(other) {
		return false
	}
	for i := range len(name) {
		a, b := name[i], other[i]
		if a == '_' {
			a = '-'
		}
		if a != b && (a|0x20 != b|0x20 || a|0x20 < 'a' || a|0x20 > 'z') {
			return false
		}
	}
	return true
}

// addForwarded adds what RFC 7239 says of the way, but for who is on it.
func (s *scratch) addForwarded(value string) {
	for element := range strings.SplitSeq(value, ",") {
		for pair := range strings.SplitSeq(element, ";") {
			pair = strings.Trim(pair, " \t")
			if name, _, _ := strings.Cut(pair, "="); !exchange.EqualFold(name, "for") && !exchange.EqualFold(name, "by") {
				s.add("forwarded")
				s.add(pair)
			}
		}
	}
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

// addParameters adds the parameters of a query, by name; those of one name stay in their order. only names those that count; where
// upstreams may divide the query in another way all of it counts.
func (s *scratch) addParameters(query string, only []string) {
	if s.parameters = s.parameters[:0]; only != nil && strings.Contains(query, ";") {
		only = nil
	}
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
