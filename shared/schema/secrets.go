package schema

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// SecretsInBody reports whether rows of the entity can hold secrets that are no columns, as plugins do.
func (e *Entity) SecretsInBody() bool {
	return slices.ContainsFunc(e.Fields, func(f *Field) bool {
		return f.secrets && f.Visibility != Wire && !slices.Contains(e.Sealed, f)
	})
}

// Secrets gives every encrypted string of a row to visit and keeps what visit returns in its place. The field
// is the schema path without indexes: "password", "config.http_endpoint". It changes m, and stops at the first
// error. The configuration of an unknown plugin has no marks and is left as it is, sealed values included.
func (s *Schema) Secrets(e *Entity, m proto.Message, visit func(field, value string) (string, error)) error {
	r := m.ProtoReflect()
	w := walk{
		into:  func(f *Field) bool { return f.secrets },
		visit: func(f *Field, value string) (string, error) { return visit(f.Path, value) },
	}
	for _, f := range e.Fields {
		if !f.secrets || f.Visibility == Wire || !r.Has(f.desc) {
			continue
		}
		if f.Kind != Config {
			if err := w.member(f, r); err != nil {
				return err
			}
			continue
		}
		p, data := s.plugins[r.Get(e.name.desc).String()], r.Get(f.desc).Bytes()
		if p == nil || !p.config.secrets || isRawJSON(data) {
			continue
		}
		config, err := p.message(data)
		if err != nil {
			return fmt.Errorf("reading the configuration of plugin %s: %w", p.Name, err)
		}
		if err := w.record(p.config, config); err != nil {
			return err
		}
		data, err = proto.MarshalOptions{Deterministic: true}.Marshal(config.Interface())
		if err != nil {
			return fmt.Errorf("writing the configuration of plugin %s: %w", p.Name, err)
		}
		r.Set(f.desc, protoreflect.ValueOfBytes(data))
	}
	return nil
}
