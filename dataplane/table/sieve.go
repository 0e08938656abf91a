package table

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// sieve finds among the many candidates of one node those that a request can belong to. Routes that share hosts and path
// and differ by a header, a server name or a method would else be looked at one by one. Each candidate lies under the
// keys of that one of its conditions which tells it best from the others; all conditions are still checked.
type sieve struct {
	names map[string]bool     // lower-cased names of the headers that keys are made of
	lists map[string][]uint32 // by key: indexes of candidates, best first
	snis  []uint32            // those under server names: in clear that condition means nothing
	rest  []uint32            // those without a condition to make keys of
}

const (
	minSieve      = 12 // candidates of a node; fewer are as quick to look at
	maxKeyedName  = 64
	maxKeyedValue = 128
)

// Kinds of keys.
const (
	headerKey = 'h'
	sniKey    = 's'
	methodKey = 'm'
)

// newSieve makes the sieve of a node's candidates, nil when they are few.
func newSieve(candidates []candidate) *sieve {
	if len(candidates) < minSieve {
		return nil
	}
	shared := map[string]int{}
	for i := range candidates {
		for _, keys := range candidates[i].pattern.rest.keys() {
			for _, key := range keys {
				shared[key]++
			}
		}
	}
	s := &sieve{names: map[string]bool{}, lists: map[string][]uint32{}}
	for i := range candidates {
		s.add(uint32(i), candidates[i].pattern.rest.keys(), shared)
	}
	return s
}

// add puts a candidate under the keys that fewest others share.
func (s *sieve) add(index uint32, choices [][]string, shared map[string]int) {
	var chosen []string
	least := 0
	for _, keys := range choices {
		most := 0
		for _, key := range keys {
			most = max(most, shared[key])
		}
		if chosen == nil || most < least {
			chosen, least = keys, most
		}
	}
	if chosen == nil {
		s.rest = append(s.rest, index)
		return
	}
	for _, key := range chosen {
		if list := s.lists[key]; len(list) == 0 || list[len(list)-1] != index { // a value may stand twice
			s.lists[key] = append(list, index)
		}
		if key[0] == headerKey {
			name, _, _ := strings.Cut(key[1:], ":")
			s.names[name] = true
		}
	}
	if chosen[0][0] == sniKey {
		s.snis = append(s.snis, index)
	}
}

// keys lists, for each condition of plain values, the keys under which a request that meets it looks.
func (c *conditions) keys() (choices [][]string) {
	for _, h := range c.headers {
		if keys := h.keys(); keys != nil {
			choices = append(choices, keys)
		}
	}
	var names []string
	for _, sni := range c.snis {
		if strings.Contains(sni, "*") || len(sni) > maxKeyedValue {
			names = nil
			break
		}
		names = append(names, string(sniKey)+sni)
	}
	if names != nil {
		choices = append(choices, names)
	}
	if len(c.methods) > 0 {
		keys := make([]string, len(c.methods))
		for i, method := range c.methods {
			keys[i] = string(methodKey) + method
		}
		choices = append(choices, keys)
	}
	return choices
}

// keys is nil when the condition is not one of plain values.
func (h *headerCondition) keys() []string {
	if len(h.regex) > 0 || len(h.name) > maxKeyedName {
		return nil
	}
	var keys []string
	for _, value := range h.values {
		if len(value) > maxKeyedValue {
			return nil
		}
		keys = append(keys, string(appendLower(append(appendLower([]byte{headerKey}, h.name), ':'), value)))
	}
	return keys
}

// appendLower appends s with its ASCII letters in lower case.
func appendLower(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, s...)
	exchange.Lower(dst[start:])
	return dst
}

// search looks at the candidates under the keys of q's request.
func (s *sieve) search(candidates []candidate, q *query) {
	q.try(candidates, s.rest)
	var buffer [1 + maxKeyedName + 1 + maxKeyedValue]byte
	if len(s.names) > 0 {
		header := &q.request.Header
		for i := range header.Len() {
			field := header.At(i)
			if len(field.Name) > maxKeyedName || len(field.Value) > maxKeyedValue {
				continue
			}
			key := appendLower(append(buffer[:0], headerKey), field.Name)
			if s.names[string(key[1:])] {
				q.try(candidates, s.lists[string(appendLower(append(key, ':'), field.Value))])
			}
		}
	}
	if method := q.request.Method; len(method) <= maxKeyedValue {
		q.try(candidates, s.lists[string(append(append(buffer[:0], methodKey), method...))])
	}
	switch sni := q.request.SNI(); {
	case q.request.TLS == nil:
		q.try(candidates, s.snis)
	case len(sni) <= maxKeyedValue:
		q.try(candidates, s.lists[string(appendLower(append(buffer[:0], sniKey), sni))])
	}
}

// try looks at the candidates of list, best first, for one that is better than what was found.
func (q *query) try(candidates []candidate, list []uint32) {
	for _, i := range list {
		c := &candidates[i]
		if c.rank <= q.rank {
			return
		}
		if c.matches(q) {
			q.rank, q.found = c.rank, c
			return
		}
	}
}

// finish makes the sieves of n and below, once all candidates are in.
func (n *node) finish() {
	n.sieve = newSieve(n.candidates)
	for _, child := range n.children {
		child.finish()
	}
}
