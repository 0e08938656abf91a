package jwt

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// value is a member of a JSON object, as far as tokens need it.
type value struct {
	kind   kind
	text   string  // of a string, unescaped
	number float64 // of a number
}

type kind uint8

const (
	absent kind = iota
	null
	boolean
	number
	text
	composite
)

// wanted are the members that are looked for, in the same order as where they are left.
type wanted struct {
	names  [4]string
	values [4]value
	count  int
}

func (w *wanted) add(name string) int {
	for i := range w.count {
		if w.names[i] == name {
			return i
		}
	}
	w.names[w.count] = name
	w.count++
	return w.count - 1
}

// maxDepth bounds how deep a token nests.
const maxDepth = 32

// scanner reads JSON (RFC 8259) strictly and keeps nothing but what is wanted. A member that is wanted and there twice makes
// the text invalid: others may go by the one that we do not (RFC 7519 §4).
type scanner struct {
	ex   *exchange.Exchange
	in   string
	at   int
	seek wanted // a copy: what is pointed to would be moved to the heap
}

// scan reads an object as a whole and notes the members that are wanted. It reports false when in is no JSON object.
func scan(ex *exchange.Exchange, in string, w *wanted) bool {
	s := scanner{ex, in, 0, *w}
	s.space()
	if s.at == len(in) || in[s.at] != '{' || !utf8.ValidString(in) {
		return false
	}
	if _, ok := s.value(1); !ok {
		return false
	}
	s.space()
	*w = s.seek
	return s.at == len(in)
}

func (s *scanner) space() {
	for s.at < len(s.in) && strings.IndexByte(" \t\r\n", s.in[s.at]) >= 0 {
		s.at++
	}
}

func (s *scanner) take(c byte) bool {
	if s.at < len(s.in) && s.in[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) value(depth int) (v value, ok bool) {
	if s.at == len(s.in) || depth > maxDepth {
		return v, false
	}
	switch c := s.in[s.at]; {
	case c == '{':
		return value{kind: composite}, s.object(depth)
	case c == '[':
		return value{kind: composite}, s.array(depth)
	case c == '"':
		v.kind = text
		v.text, ok = s.string()
		return v, ok
	case c == 't':
		return value{kind: boolean}, s.word("true")
	case c == 'f':
		return value{kind: boolean}, s.word("false")
	case c == 'n':
		return value{kind: null}, s.word("null")
	}
	v.kind = number
	v.number, ok = s.number()
	return v, ok
}

func (s *scanner) word(word string) bool {
	if !strings.HasPrefix(s.in[s.at:], word) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) object(depth int) bool {
	s.at++
	s.space()
	if s.take('}') {
		return true
	}
	for {
		s.space()
		if s.at == len(s.in) || s.in[s.at] != '"' {
			return false
		}
		name, ok := s.string()
		if !ok {
			return false
		}
		s.space()
		if !s.take(':') {
			return false
		}
		s.space()
		v, ok := s.value(depth + 1)
		if !ok || depth == 1 && !s.note(name, v) {
			return false
		}
		s.space()
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *scanner) note(name string, v value) bool {
	for i := range s.seek.count {
		if s.seek.names[i] == name {
			if s.seek.values[i].kind != absent {
				return false
			}
			s.seek.values[i] = v
		}
	}
	return true
}

func (s *scanner) array(depth int) bool {
	s.at++
	s.space()
	if s.take(']') {
		return true
	}
	for {
		s.space()
		if _, ok := s.value(depth + 1); !ok {
			return false
		}
		s.space()
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// string reads a string. One without escapes costs nothing.
func (s *scanner) string() (string, bool) {
	s.at++
	start := s.at
	for ; s.at < len(s.in); s.at++ {
		switch c := s.in[s.at]; {
		case c == '"':
			s.at++
			return s.in[start : s.at-1], true
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return "", false
		}
	}
	return "", false
}

// escaped reads on from the first escape of a string.
func (s *scanner) escaped(start int) (string, bool) {
	out := append(s.ex.Bytes(len(s.in) - start)[:0], s.in[start:s.at]...) // an escape is never shorter than what it means
	for s.at < len(s.in) {
		c := s.in[s.at]
		s.at++
		switch {
		case c == '"':
			return exchange.View(out), true
		case c < 0x20:
			return "", false
		case c != '\\':
			out = append(out, c)
		default:
			r, ok := s.escape()
			if !ok {
				return "", false
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return "", false
}

func (s *scanner) escape() (rune, bool) {
	if s.at == len(s.in) {
		return 0, false
	}
	c := s.in[s.at]
	s.at++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), true
	}
	if c != 'u' {
		return 0, false
	}
	r, ok := s.hex()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	if !strings.HasPrefix(s.in[s.at:], `\u`) {
		return 0, false // half of a pair stands for nothing
	}
	s.at += 2
	low, ok := s.hex()
	r = utf16.DecodeRune(r, low)
	return r, ok && r != utf8.RuneError
}

func (s *scanner) hex() (r rune, ok bool) {
	if s.at+4 > len(s.in) {
		return 0, false
	}
	for _, c := range []byte(s.in[s.at : s.at+4]) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	s.at += 4
	return r, true
}
