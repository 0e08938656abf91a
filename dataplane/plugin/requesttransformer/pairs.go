package requesttransformer

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// pair is one parameter of a query or form: as it was written, or, once changed, to be written.
type pair struct {
	raw  string // "" when it is made of name and value
	name string // decoded
	text string // value; of a raw pair its raw one
}

// parsePairs reads application/x-www-form-urlencoded text.
func (w *work) parsePairs(ex *exchange.Exchange, text string) {
	w.pairs = w.pairs[:0]
	for rest := text; rest != ""; {
		var raw string
		raw, rest, _ = strings.Cut(rest, "&")
		if raw == "" {
			continue
		}
		name, value, _ := strings.Cut(raw, "=")
		w.pairs = append(w.pairs, pair{raw, decode(ex, name), value})
	}
}

// apply changes the parameters by rules, and says whether that made a difference.
func (w *work) apply(ex *exchange.Exchange, r *rules) (changed bool) {
	for _, name := range r.remove {
		changed = w.drop(0, name) || changed
	}
	for _, one := range r.rename {
		changed = w.rename(ex, one) || changed
	}
	for _, a := range r.replace {
		if at := w.find(a.name); at >= 0 {
			w.pairs[at] = pair{name: a.name, text: w.values[a.value]}
			w.drop(at+1, a.name)
			changed = true
		}
	}
	for _, a := range r.add {
		if w.find(a.name) < 0 {
			w.pairs = append(w.pairs, pair{name: a.name, text: w.values[a.value]})
			changed = true
		}
	}
	for _, a := range r.append {
		w.pairs = append(w.pairs, pair{name: a.name, text: w.values[a.value]})
		changed = true
	}
	return changed
}

func (w *work) find(name string) int {
	for i := range w.pairs {
		if w.pairs[i].name == name {
			return i
		}
	}
	return -1
}

// drop removes the parameters of that name from a place on.
func (w *work) drop(start int, name string) (dropped bool) {
	kept := w.pairs[:start]
	for _, p := range w.pairs[start:] {
		if p.name != name {
			kept = append(kept, p)
		}
	}
	dropped = len(kept) < len(w.pairs)
	w.pairs = kept
	return dropped
}

// rename moves the values of one name to another, whose own values go.
func (w *work) rename(ex *exchange.Exchange, r renaming) bool {
	if r.from == r.to || w.find(r.from) < 0 {
		return false
	}
	w.drop(0, r.to)
	for i := range w.pairs {
		p := &w.pairs[i]
		if p.name != r.from {
			continue
		}
		if p.raw != "" {
			p.text = decode(ex, p.text)
		}
		p.raw, p.name = "", r.to
	}
	return true
}

// encodePairs writes the parameters into the arena: untouched ones as they were.
func (w *work) encodePairs(ex *exchange.Exchange) []byte {
	n := 0
	for i := range w.pairs {
		n += len(w.pairs[i].raw) + 3*(len(w.pairs[i].name)+len(w.pairs[i].text)) + 2
	}
	b := ex.Bytes(n)[:0]
	for i := range w.pairs {
		if i > 0 {
			b = append(b, '&')
		}
		p := &w.pairs[i]
		if p.raw != "" {
			b = append(b, p.raw...)
			continue
		}
		b = escape(b, p.name)
		b = append(b, '=')
		b = escape(b, p.text)
	}
	return b
}

// escape appends text with every byte percent-encoded but the unreserved ones, RFC 3986 §2.3.
func escape(b []byte, text string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// decode undoes the encoding of a form. What is not well-formed stays as it is.
func decode(ex *exchange.Exchange, text string) string {
	if strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0 {
		return text
	}
	out := ex.Bytes(len(text))[:0]
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && unhex(text[i+1]) < 16 && unhex(text[i+2]) < 16:
			c = unhex(text[i+1])<<4 | unhex(text[i+2])
			i += 2
		}
		out = append(out, c)
	}
	return exchange.View(out)
}

// unhex is the value of a hexadecimal digit, 255 of other bytes.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
