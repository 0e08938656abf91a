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
	for _, f := range e.Fields {
		if !f.secrets || f.Visibility == Wire || !r.Has(f.desc) {
			continue
		}
		if f.Kind != Config {
			if err := visitMember(f, r, visit); err != nil {
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
		if err := visitRecord(p.config, config, visit); err != nil {
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

func visitRecord(f *Field, m protoreflect.Message, visit func(field, value string) (string, error)) error {
	for _, child := range f.Fields {
		if !child.secrets || !m.Has(child.desc) {
			continue
		}
		if err := visitMember(child, m, visit); err != nil {
			return err
		}
	}
	return nil
}

func visitMember(f *Field, m protoreflect.Message, visit func(field, value string) (string, error)) error {
	if f.Kind != String {
		return visitInside(f, m.Mutable(f.desc).Message(), visit)
	}
	value, err := visit(f.Path, m.Get(f.desc).String())
	if err == nil {
		m.Set(f.desc, protoreflect.ValueOfString(value))
	}
	return err
}

// visitInside walks a record or a collection.
func visitInside(f *Field, m protoreflect.Message, visit func(field, value string) (string, error)) error {
	if f.Kind == Record {
		return visitRecord(f, m, visit)
	}
	if !m.Has(f.values) {
		return nil
	}
	if f.Kind == Map {
		return visitMap(f, m.Mutable(f.values).Map(), visit)
	}
	list := m.Mutable(f.values).List()
	for i := range list.Len() {
		if f.Elem.Kind != String {
			if err := visitInside(f.Elem, list.Get(i).Message(), visit); err != nil {
				return err
			}
			continue
		}
		value, err := visit(f.Elem.Path, list.Get(i).String())
		if err != nil {
			return err
		}
		list.Set(i, protoreflect.ValueOfString(value))
	}
	return nil
}

func visitMap(f *Field, values protoreflect.Map, visit func(field, value string) (string, error)) error {
	var err error
	values.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		if f.Elem.Kind != String {
			err = visitInside(f.Elem, v.Message(), visit)
			return err == nil
		}
		var value string
		if value, err = visit(f.Elem.Path, v.String()); err == nil {
			values.Set(key, protoreflect.ValueOfString(value))
		}
		return err == nil
	})
	return err
}
