// Package jsonobject changes the members of a JSON object and leaves the rest as it was written, byte for byte: numbers keep
// their digits, members their order.
//
// It knows the outermost object alone. A name that stands there several times is removed, renamed and replaced as a whole, so
// that no reader finds what another one lost.
package jsonobject

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

var (
	// ErrJSON is text that is not JSON.
	ErrJSON = errors.New("not JSON")
	// ErrOther is JSON, but of another kind than an object.
	ErrOther = errors.New("not an object")
	// ErrMany is an object with more than [MaxMembers] members: each costs many times its bytes.
	ErrMany = errors.New("too many members")
)

// MaxMembers bounds what an object costs in memory: 64 bytes a member.
const MaxMembers = 50_000

// Object is a JSON object taken apart. The zero value is the empty one. It holds views of what it was made of.
type Object struct {
	members []member
	made    []byte // lists that Append made
}

type member struct {
	name  string // decoded
	key   []byte // as written, with quotes; nil for one that was added
	value []byte
}

// Reset empties the object and lets go of what it was made of.
func (o *Object) Reset() {
	const keepMembers, keepBytes = 256, 4 << 10
	if cap(o.members) > keepMembers {
		o.members = nil
	}
	if cap(o.made) > keepBytes {
		o.made = nil
	}
	clear(o.members[:cap(o.members)])
	o.members, o.made = o.members[:0], o.made[:0]
}

// Parse takes text apart. Text must not change while the object is in use.
func (o *Object) Parse(text []byte) error {
	o.Reset()
	if !json.Valid(text) {
		return ErrJSON
	}
	at := blanks(text, 0)
	if text[at] != '{' {
		return ErrOther
	}
	for at = blanks(text, at+1); text[at] != '}'; at = blanks(text, at) {
		if text[at] == ',' {
			at = blanks(text, at+1)
		}
		end := value(text, at)
		m := member{key: text[at:end]}
		m.name = nameOf(m.key)
		at = blanks(text, blanks(text, end)+1) // beyond the colon
		end = value(text, at)
		m.value, at = text[at:end], end
		if len(o.members) == MaxMembers {
			o.Reset()
			return ErrMany
		}
		o.members = append(o.members, m)
	}
	return nil
}

// ends are the bytes that end a number or a word.
var ends = [256]bool{',': true, ':': true, '}': true, ']': true, ' ': true, '\t': true, '\n': true, '\r': true}

func blanks(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r' {
		at++
	}
	return at
}

// value returns where the valid value ends that begins at a place.
func value(text []byte, at int) int {
	depth := 0
	for {
		switch text[at] {
		case '"':
			at = quoted(text, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\t', '\n', '\r':
			at++
		default:
			for at < len(text) && !ends[text[at]] {
				at++
			}
		}
		if depth == 0 {
			return at
		}
	}
}

// quoted returns where the string ends that begins at a place.
func quoted(text []byte, at int) int {
	for at++; text[at] != '"'; at++ {
		if text[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// nameOf decodes a key. Most need no decoding.
func nameOf(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return exchange.View(key[1 : len(key)-1])
	}
	var name string
	_ = json.Unmarshal(key, &name) // it is part of valid JSON
	return name
}

// Has says whether there is a member of that name.
func (o *Object) Has(name string) bool { return o.find(name) >= 0 }

func (o *Object) find(name string) int {
	for i := range o.members {
		if o.members[i].name == name {
			return i
		}
	}
	return -1
}

// Lookup returns the value of the first member of that name as it was written, and how many of that name there are.
func (o *Object) Lookup(name string) (value []byte, count int) {
	for i := range o.members {
		if o.members[i].name != name {
			continue
		}
		if count == 0 {
			value = o.members[i].value
		}
		count++
	}
	return value, count
}

// Remove removes the members of that name, and says whether there were any.
func (o *Object) Remove(name string) bool { return o.removeFrom(0, name) }

func (o *Object) removeFrom(start int, name string) bool {
	kept := o.members[:start]
	for _, m := range o.members[start:] {
		if m.name != name {
			kept = append(kept, m)
		}
	}
	removed := len(kept) < len(o.members)
	o.members = kept
	return removed
}

// Rename gives the member of one name another, in whose place it comes. It says whether there was one.
func (o *Object) Rename(from, to string) bool {
	i := o.find(from)
	if i < 0 || from == to {
		return false
	}
	m := o.members[i]
	o.Remove(from)
	o.Remove(to)
	o.members = append(o.members, member{name: to, value: m.value})
	return true
}

// Replace gives the member of that name a value, which is JSON. It says whether there was one.
func (o *Object) Replace(name string, value []byte) bool {
	i := o.find(name)
	if i < 0 {
		return false
	}
	o.members[i].value = value
	o.removeFrom(i+1, name)
	return true
}

// Add adds a member unless there is one of that name. It says whether it did.
func (o *Object) Add(name string, value []byte) bool {
	if o.Has(name) {
		return false
	}
	o.members = append(o.members, member{name: name, value: value})
	return true
}

// Append adds a value to the list of that name: to the end of an array, after another value, or as the only one.
func (o *Object) Append(name string, value []byte) {
	i := o.find(name)
	if i < 0 {
		o.members = append(o.members, member{name: name, value: o.wrap(nil, value)})
		return
	}
	old := o.members[i].value
	if old[0] == '[' {
		old = bytes.TrimSpace(old[1 : len(old)-1])
	}
	o.members[i].value = o.wrap(old, value)
	o.removeFrom(i+1, name)
}

// wrap makes an array of old elements and another one.
func (o *Object) wrap(old, value []byte) []byte {
	start := len(o.made)
	b := append(o.made, '[')
	if len(old) > 0 {
		b = append(append(b, old...), ',')
	}
	o.made = append(append(b, value...), ']')
	return o.made[start:len(o.made):len(o.made)]
}

// Encode appends the object to dst.
func (o *Object) Encode(dst []byte) []byte {
	dst = append(dst, '{')
	for i := range o.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		m := &o.members[i]
		if m.key != nil {
			dst = append(dst, m.key...)
		} else {
			dst = Quote(dst, m.name)
		}
		dst = append(append(dst, ':'), m.value...)
	}
	return append(dst, '}')
}

// Quote appends text as a JSON string. What is not UTF-8 becomes U+FFFD.
func Quote(dst []byte, text string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7F:
			dst = append(dst, '\\', 'u', '0', '0', digits[text[i]>>4], digits[text[i]&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
