package exchange

import (
	"iter"
	"strings"

	"github.com/keepgate/keepgate/shared/reserved"
)

// Field is one header line.
type Field struct{ Name, Value string }

// Header is an ordered list of fields. Names keep the spelling they came with and compare without regard to
// case. What is in it can be written to the wire as it is: Set and Add refuse names that are not
// tokens and turn CR, LF and NUL in values into spaces (RFC 9110 §5.5), so nobody can split a message.
type Header struct{ fields []Field }

// Len is the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// At returns field i, 0 ≤ i < Len.
func (h *Header) At(i int) Field { return h.fields[i] }

// All visits the fields in order. The list must not change meanwhile.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range h.fields {
			if !yield(f.Name, f.Value) {
				return
			}
		}
	}
}

// Get returns the value of the first field of that name, or "".
func (h *Header) Get(name string) string {
	value, _ := h.Lookup(name)
	return value
}

// Lookup returns the value of the first field of that name and whether there is one.
func (h *Header) Lookup(name string) (value string, found bool) {
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			return h.fields[i].Value, true
		}
	}
	return "", false
}

// Has says whether there is a field of that name.
func (h *Header) Has(name string) bool {
	_, found := h.Lookup(name)
	return found
}

// Count is the number of fields of that name.
func (h *Header) Count(name string) int {
	n := 0
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			n++
		}
	}
	return n
}

// Values visits the values of all fields of that name.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, f := range h.fields {
			if EqualFold(f.Name, name) && !yield(f.Value) {
				return
			}
		}
	}
}

// Set makes value the only one of that name, in the place of the first one or at the end. It returns
// false, and changes nothing, when name is not a token.
func (h *Header) Set(name, value string) bool {
	if !ValidName(name) {
		return false
	}
	h.SetParsed(name, cleanValue(value))
	return true
}

// SetParsed is Set without looking at name and value, for words of our own and for parsers that have checked every byte.
func (h *Header) SetParsed(name, value string) {
	for i := range h.fields {
		if EqualFold(h.fields[i].Name, name) {
			h.fields[i] = Field{name, value}
			h.removeFrom(i+1, name)
			return
		}
	}
	h.fields = append(h.fields, Field{name, value})
}

// Add appends a field. It returns false, and changes nothing, when name is not a token.
func (h *Header) Add(name, value string) bool {
	if !ValidName(name) {
		return false
	}
	h.fields = append(h.fields, Field{name, cleanValue(value)})
	return true
}

// AddParsed appends a field without looking at it: for parsers that have checked every byte.
func (h *Header) AddParsed(name, value string) { h.fields = append(h.fields, Field{name, value}) }

// Del removes all fields of that name.
func (h *Header) Del(name string) { h.removeFrom(0, name) }

// DelFunc removes the fields for which drop returns true.
func (h *Header) DelFunc(drop func(name, value string) bool) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !drop(f.Name, f.Value) {
			kept = append(kept, f)
		}
	}
	h.truncate(len(kept))
}

// DelLoose removes the fields of that name, "_" and "-" counting as the same: servers of the CGI
// tradition cannot tell X_Consumer_ID from X-Consumer-ID, so whoever removes an identity header means both.
func (h *Header) DelLoose(name string) {
	kept := 0
	for i := range h.fields {
		if reserved.Same(h.fields[i].Name, name) {
			continue
		}
		h.fields[kept] = h.fields[i]
		kept++
	}
	h.truncate(kept)
}

// DelPrefix removes the fields whose name begins with prefix, "_" and "-" counting as the same.
func (h *Header) DelPrefix(prefix string) {
	kept := 0
	for i := range h.fields {
		if reserved.Begins(h.fields[i].Name, prefix) {
			continue
		}
		h.fields[kept] = h.fields[i]
		kept++
	}
	h.truncate(kept)
}

// Reset removes all fields.
func (h *Header) Reset() { h.truncate(0) }

func (h *Header) removeFrom(start int, name string) {
	kept := start
	for i := start; i < len(h.fields); i++ {
		if EqualFold(h.fields[i].Name, name) {
			continue
		}
		h.fields[kept] = h.fields[i]
		kept++
	}
	h.truncate(kept)
}

// truncate clears what it cuts off: the strings would keep old arenas alive.
func (h *Header) truncate(n int) {
	clear(h.fields[n:])
	h.fields = h.fields[:n]
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// cleanValue cuts surrounding blanks and replaces what could end a line.
func cleanValue(value string) string {
	for value != "" && blank(value[0]) {
		value = value[1:]
	}
	for value != "" && blank(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	if ValidValue(value) {
		return value
	}
	b := []byte(value)
	for i, c := range b {
		if !valueBytes[c] {
			b[i] = ' '
		}
	}
	return strings.Trim(string(b), " ")
}
