package schema

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/secretref"
)

// ResolveConfig gives every reference that is a field of a plugin's configuration to lookup, and returns the configuration with
// the values in their place. What a field asks of values is checked of these too, and they are used as they are: a value that
// has the form of a reference is none. A configuration without references is returned as it is, and so is that of
// an unknown plugin. Errors name the field and nothing that stands in it.
func (s *Schema) ResolveConfig(name string, config []byte, lookup func(reference string) (string, error)) ([]byte, error) {
	p := s.plugins[name]
	if p == nil || !p.config.references || !secretref.Within(config) || isRawJSON(config) {
		return config, nil
	}
	m, err := p.message(config)
	if err != nil {
		return config, nil // the plugin says what is wrong with it
	}
	found := false
	w := walk{
		into: func(f *Field) bool { return f.references },
		visit: func(f *Field, text string) (string, error) {
			if !f.Referenceable || !secretref.Meant(text) {
				return text, nil
			}
			found = true
			value, err := lookup(text)
			if err == nil && !fits(f, value) {
				err = errors.New("what the reference leads to is no value for it")
			}
			if err != nil {
				return "", fmt.Errorf("%s: %w", f.Path, err)
			}
			return value, nil
		},
	}
	if err := w.record(p.config, m); err != nil {
		return nil, err
	}
	if !found {
		return config, nil
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
}

// fits checks a value that a reference led to. What the check would say may quote it.
func fits(f *Field, value string) bool {
	literal := *f
	literal.Referenceable, literal.Encrypted, literal.OneWay = false, false, 0
	_, problem := checkString(&literal, value)
	return problem == nil
}

// checkReference says what is wrong with a text that begins as a reference does. Where no reference is looked up it would be
// the secret itself, which everybody can guess who has seen one.
func checkReference(f *Field, text string) string {
	switch {
	case !secretref.Meant(text):
	case f.Referenceable:
		if _, err := secretref.Parse(text); err != nil {
			return "invalid reference: " + err.Error()
		}
	case f.Encrypted || f.OneWay != 0:
		return "references are not taken here"
	}
	return ""
}

// isReference says whether a value is looked up on the node that uses it. One that is no good reference was refused before.
func isReference(s string) bool { return secretref.Meant(s) }
