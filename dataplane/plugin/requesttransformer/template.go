package requesttransformer

import (
	"errors"
	"strconv"
	"strings"
)

// template is text with values of the request in it:
//
//	text     = *( literal | "$(" expr ")" )
//	expr     = term *( "or" term )
//	term     = source "." name | source "[" string "]" | source "[" number "]" | string
//	source   = "headers" | "query_params" | "uri_captures" | "shared"
//	name     = ( letter | "_" ) *( letter | digit | "_" )
//	string   = "'" … "'" | '"' … '"'
//
// It is what Kong's templates are used for; Kong runs Lua there, which is refused here. Of several terms the first one that has
// a value counts; when none has, the expression is empty text.
type template struct {
	text   string // all of it, when there are no parts
	parts  []part
	values []string // what references in it led to
}

// part is a literal or an expression.
type part struct {
	literal string
	terms   []term // nil for a literal
}

// source is where a value comes from.
type source uint8

const (
	fromLiteral source = iota
	fromHeaders
	fromQuery
	fromCaptures
	fromShared
)

// term is one value of an expression.
type term struct {
	from   source
	name   string // of a literal, its text
	other  string // of a header, how else it may be spelled
	number int    // of a capture without a name, from 1
}

// parseTemplate compiles text.
func parseTemplate(text string) (template, error) {
	var parts []part
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "$(")
		if literal != "" {
			parts = append(parts, part{literal: literal})
		}
		if !found {
			break
		}
		p := parser{after}
		terms, err := p.expression()
		if err != nil {
			return template{}, err
		}
		parts = append(parts, part{terms: terms})
		rest = p.rest
	}
	if len(parts) == 0 || len(parts) == 1 && parts[0].terms == nil {
		return template{text: text}, nil
	}
	return template{parts: parts}, nil
}

// constant says whether the template is the same for every request.
func (t *template) constant() bool { return t.parts == nil }

// uses says whether a value of some source stands in the template.
func (t *template) uses(from source) bool {
	for _, p := range t.parts {
		for _, term := range p.terms {
			if term.from == from {
				return true
			}
		}
	}
	return false
}

// parser reads one expression.
type parser struct{ rest string }

var (
	errUnclosed = errors.New("'$(' without ')'")
	errTerm     = errors.New("expected headers, query_params, uri_captures, shared or a string")
	errKey      = errors.New("expected a name or a key in brackets")
	errString   = errors.New("string without an end")
	errNumber   = errors.New("only uri_captures are numbered, from 1 to 999")
)

// expression reads terms and the bracket that closes them.
func (p *parser) expression() ([]term, error) {
	var terms []term
	for {
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		switch word := p.word(); {
		case word == "or":
		case word == "" && p.take(")"):
			return terms, nil
		case word == "" && p.rest == "":
			return nil, errUnclosed
		default:
			return nil, errors.New("expected 'or' or ')': expressions are values of the request, not Lua")
		}
	}
}

func (p *parser) term() (term, error) {
	p.blanks()
	if p.at(`"'`) {
		text, err := p.string()
		return term{from: fromLiteral, name: text}, err
	}
	from, known := map[string]source{"headers": fromHeaders, "query_params": fromQuery, "uri_captures": fromCaptures, "shared": fromShared}[p.word()]
	if !known {
		return term{}, errTerm
	}
	t := term{from: from}
	switch {
	case p.take("."):
		if t.name = p.word(); t.name == "" {
			return t, errKey
		}
	case p.take("["):
		if err := p.key(&t); err != nil {
			return t, err
		}
	default:
		return t, errKey
	}
	if from == fromHeaders {
		t.other = strings.ReplaceAll(t.name, "_", "-")
	}
	return t, nil
}

// key reads what stands in brackets, and the closing one.
func (p *parser) key(t *term) (err error) {
	p.blanks()
	if p.at(`"'`) {
		if t.name, err = p.string(); err != nil {
			return err
		}
	} else {
		digits := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789"))
		if digits == 0 {
			return errKey
		}
		t.number, err = strconv.Atoi(p.rest[:digits])
		if err != nil || t.from != fromCaptures || t.number < 1 || t.number > 999 {
			return errNumber
		}
		p.rest = p.rest[digits:]
	}
	if !p.take("]") || t.name == "" && t.number == 0 {
		return errKey
	}
	return nil
}

// string reads a quoted text. A backslash stands for the byte after it.
func (p *parser) string() (string, error) {
	quote := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == quote:
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errString
}

// word reads a name, "" when there is none.
func (p *parser) word() string {
	p.blanks()
	n := 0
	for n < len(p.rest) && (p.rest[n] == '_' || 'a' <= p.rest[n]|0x20 && p.rest[n]|0x20 <= 'z' || n > 0 && '0' <= p.rest[n] && p.rest[n] <= '9') {
		n++
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word
}

func (p *parser) blanks() { p.rest = strings.TrimLeft(p.rest, " \t") }

// at says whether one of chars comes next.
func (p *parser) at(chars string) bool {
	return p.rest != "" && strings.IndexByte(chars, p.rest[0]) >= 0
}

// take reads text, after blanks, when it is there.
func (p *parser) take(text string) bool {
	p.blanks()
	rest, ok := strings.CutPrefix(p.rest, text)
	p.rest = rest
	return ok
}
