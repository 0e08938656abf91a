package logrecord

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/redact"
)

// maxArguments is how many query parameters are shown one by one, as in Kong.
const maxArguments = 100

// headers writes fields by their lower-cased names; a name that comes several times has an array. host is shown as the field
// that framing took away.
func (w *writer) headers(h *exchange.Header, host string) {
	first := true
	if host != "" {
		w.text(`"host":"`, host)
		w.raw(`"`)
		first = false
	}
	for i := range h.Len() {
		field := h.At(i)
		if earlier(h, i) || host != "" && exchange.EqualFold(field.Name, "Host") {
			continue
		}
		if !first {
			w.raw(`,`)
		}
		first = false
		w.raw(`"`)
		w.b = appendLower(w.b, field.Name)
		w.raw(`":`)
		several := later(h, i)
		if several {
			w.raw(`[`)
		}
		w.headerValue(field)
		for j := i + 1; several && j < h.Len(); j++ {
			if next := h.At(j); exchange.EqualFold(next.Name, field.Name) {
				w.raw(`,`)
				w.headerValue(next)
			}
		}
		if several {
			w.raw(`]`)
		}
	}
}

// headerValue writes a value. Some are URLs, so all are looked at as URLs.
func (w *writer) headerValue(f exchange.Field) {
	value, fragment, _ := strings.Cut(f.Value, "#")
	switch {
	case redact.Header(f.Name, w.secret):
		w.text(`"`, redact.Text)
	case fragment != "" && exchange.EqualFold(f.Name, "Location"): // where RFC 6749 §4.2.2 puts tokens
		w.url(`"`, value)
		w.text(`#`, redact.Text)
	default:
		w.url(`"`, f.Value)
	}
	w.raw(`"`)
}

func earlier(h *exchange.Header, i int) bool {
	name := h.At(i).Name
	for j := range i {
		if exchange.EqualFold(h.At(j).Name, name) {
			return true
		}
	}
	return false
}

func later(h *exchange.Header, i int) bool {
	name := h.At(i).Name
	for j := i + 1; j < h.Len(); j++ {
		if exchange.EqualFold(h.At(j).Name, name) {
			return true
		}
	}
	return false
}

func appendLower(b []byte, name string) []byte {
	from := len(b)
	b = redact.AppendQuoted(b, name, redact.JSON) // names are tokens, but not those of a test
	for i := from; i < len(b); i++ {
		if c := b[i]; 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// query writes the parameters by name. One without "=" is true, as in Kong.
func (w *writer) query(raw string) {
	var pairs [maxArguments]string
	n := 0
	for raw != "" && n < len(pairs) {
		var pair string
		if pair, raw, _ = strings.Cut(raw, "&"); pair != "" {
			pairs[n] = pair
			n++
		}
	}
	first := true
	for i, pair := range pairs[:n] {
		name, _, _ := strings.Cut(pair, "=")
		if named(pairs[:i], name) >= 0 {
			continue
		}
		if !first {
			w.raw(`,`)
		}
		first = false
		w.text(`"`, w.decoded(name))
		w.raw(`":`)
		next := named(pairs[i+1:n], name)
		if next < 0 {
			w.argument(pair)
			continue
		}
		w.raw(`[`)
		w.argument(pair)
		for at := i + 1; next >= 0; next = named(pairs[at:n], name) {
			w.raw(`,`)
			w.argument(pairs[at+next])
			at += next + 1
		}
		w.raw(`]`)
	}
}

func (w *writer) argument(pair string) {
	name, value, has := strings.Cut(pair, "=")
	switch {
	case !has:
		w.raw(`true`)
		return
	case redact.Parameter(name, w.secret):
		w.text(`"`, redact.Text)
	default:
		w.text(`"`, w.decoded(value))
	}
	w.raw(`"`)
}

// named returns the first of pairs with that name, decoded, or -1.
func named(pairs []string, name string) int {
	for i, pair := range pairs {
		other, _, _ := strings.Cut(pair, "=")
		if sameDecoded(other, name) {
			return i
		}
	}
	return -1
}

func sameDecoded(a, b string) bool {
	for a != "" && b != "" {
		var x, y byte
		x, a = next(a)
		y, b = next(b)
		if x != y {
			return false
		}
	}
	return a == b
}

// next takes one byte of a percent-encoded text. What is not well-formed stands for itself.
func next(raw string) (c byte, rest string) {
	switch {
	case raw[0] == '+':
		return ' ', raw[1:]
	case raw[0] == '%' && len(raw) > 2:
		if hi, lo := digit(raw[1]), digit(raw[2]); hi < 16 && lo < 16 {
			return hi<<4 | lo, raw[3:]
		}
	}
	return raw[0], raw[1:]
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// decoded returns a percent-encoded text in plain, in the arena where it has to be made.
func (w *writer) decoded(raw string) string {
	if strings.IndexByte(raw, '%') < 0 && strings.IndexByte(raw, '+') < 0 {
		return raw
	}
	b := w.ex.Bytes(len(raw))[:0]
	for raw != "" {
		var c byte
		c, raw = next(raw)
		b = append(b, c)
	}
	return exchange.View(b)
}
