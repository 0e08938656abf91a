package requesttransformer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/secretref"
)

// maker makes an instance. References in values lead somewhere while it does, and never after: what they led to is text of
// the configuration then, and no part of a template.
type maker struct {
	*instance
	lookup func(reference string) (string, error)
}

var (
	errOnlyReference = errors.New("an entry is a reference: it stands behind a name, as in name:{kvm://map/key}")
	errUnfit         = errors.New("what a reference leads to is no value for a header")
)

// template compiles a value with references in it. write puts what they lead to into the text.
func (m *maker) template(text string, write func(string) string) (made template, err error) {
	var parts []part
	constant := true
	for piece := range secretref.Cut(text) {
		switch {
		case piece.Err != nil:
			return template{}, piece.Err
		case piece.IsReference():
			value, err := m.lookup(piece.Text)
			if err != nil {
				return template{}, err
			}
			made.values = append(made.values, value)
			parts = append(parts, part{literal: write(value)})
		default:
			one, err := parseTemplate(piece.Text)
			if err != nil {
				return template{}, fmt.Errorf("value '%s' is not in supported format, error:%w", text, err)
			}
			constant = constant && one.constant()
			parts = append(parts, one.divided()...)
		}
	}
	if !constant {
		made.parts = parts
		return made, nil
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.literal)
	}
	made.text = b.String()
	return made, nil
}

// divided is the template as parts.
func (t *template) divided() []part {
	if t.constant() {
		return []part{{literal: t.text}}
	}
	return t.parts
}

func asItIs(value string) string { return value }

// inPath writes a value as text of a path: it leads to no other one than the configuration says, nor into the query.
func inPath(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; hidden(c) || c == '\\' || c == ';' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// checkValues refuses what references led to where no header can hold it. Cleaned up it would be another secret.
func (i *instance) checkValues(lists ...[]assignment) error {
	for _, list := range lists {
		for _, a := range list {
			for _, value := range i.templates[a.value].values {
				if !exchange.ValidValue(value) {
					return errUnfit
				}
			}
		}
	}
	return nil
}

// SecretParameters implements plugin.Secretive: what references led to is secret wherever it is written. Fields of a form may
// become parameters.
func (i *instance) SecretParameters() (names []string) {
	for _, part := range []*rules{&i.headers, &i.body, &i.query} {
		for _, list := range [][]assignment{part.replace, part.add, part.append} {
			for _, a := range list {
				if len(i.templates[a.value].values) > 0 {
					names = append(names, a.name)
				}
			}
		}
	}
	return names
}
