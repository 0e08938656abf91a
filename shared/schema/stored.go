package schema

import (
	"encoding/base64"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/shared/fault"
)

// DecodeStored reads what EncodeStored wrote; SetColumns adds the sealed columns. A field that the body does
// not have takes its default. A field that this build does not know is passed over: a newer node of the same
// cluster may have written it.
func (s *Schema) DecodeStored(e *Entity, body []byte) (proto.Message, error) {
	doc, err := readBody(body)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "schema.DecodeStored", e.Table, err)
	}
	m := e.typ.New()
	dec := decoder{stored: true}
	for _, f := range e.Fields {
		v, found := doc[f.Name]
		if !found {
			v = f.Default
		}
		if v == nil || !f.inBody(true) {
			continue
		}
		if f.Kind == Config {
			name, _ := doc[e.name.Name].(string)
			err = s.decodeConfig(m, f, name, v)
		} else {
			err = dec.set(m, f, v)
		}
		if err != nil {
			return nil, fault.New(fault.Corrupt, "schema.DecodeStored", e.Table, fmt.Errorf("field %s: %w", f.Name, err))
		}
	}
	return m.Interface(), nil
}

// decodeConfig turns a configuration's JSON tree into the bytes that the message holds.
func (s *Schema) decodeConfig(m protoreflect.Message, f *Field, name string, v any) error {
	tree, ok := v.(map[string]any)
	if !ok {
		return errors.New("not an object")
	}
	if text, ok := tree[rawConfig].(string); ok && len(tree) == 1 {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return errors.New("not base64")
		}
		m.Set(f.desc, protoreflect.ValueOfBytes(data))
		return nil
	}
	p := s.plugins[name]
	if p == nil {
		m.Set(f.desc, protoreflect.ValueOfBytes(appendTree(nil, tree)))
		return nil
	}
	data, err := p.encode(tree, decoder{stored: true})
	if err != nil {
		return err
	}
	m.Set(f.desc, protoreflect.ValueOfBytes(data))
	return nil
}

// encode makes the configuration bytes of a tree.
func (p *plugin) encode(tree map[string]any, dec decoder) ([]byte, error) {
	m := p.Config.New()
	if err := dec.record(m, p.config, tree); err != nil {
		return nil, err
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if data == nil {
		data = []byte{}
	}
	return data, err
}

var errKind = errors.New("value of another type")

// decoder fills messages from trees. Only Build and storage give it trees, so a value of a wrong type is an
// error without Kong's words.
type decoder struct{ stored bool }

func (d decoder) set(m protoreflect.Message, f *Field, v any) error {
	if v == nil {
		return nil
	}
	if f.marks.GetFractionalSeconds() && !d.stored {
		seconds, ok := toFloat(v)
		if !ok {
			return errKind
		}
		m.Set(f.desc, protoreflect.ValueOfInt64(milliseconds(seconds)))
		return nil
	}
	value, err := d.value(f, v, func() protoreflect.Value { return m.NewField(f.desc) })
	if err != nil {
		return err
	}
	m.Set(f.desc, value)
	return nil
}

func (d decoder) value(f *Field, v any, fresh func() protoreflect.Value) (protoreflect.Value, error) {
	switch f.Kind {
	case String:
		if s, ok := v.(string); ok {
			return protoreflect.ValueOfString(s), nil
		}
	case Integer:
		if n, ok := toInt(v); ok {
			return protoreflect.ValueOfInt64(n), nil
		}
	case Number:
		if n, ok := toFloat(v); ok {
			return protoreflect.ValueOfFloat64(n), nil
		}
	case Boolean:
		if b, ok := v.(bool); ok {
			return protoreflect.ValueOfBool(b), nil
		}
	case Foreign:
		tree, _ := v.(map[string]any)
		if id, ok := tree["id"].(string); ok {
			value := fresh()
			value.Message().Set(f.values, protoreflect.ValueOfString(id))
			return value, nil
		}
	case Set, Array:
		if list, ok := v.([]any); ok {
			value := fresh()
			return value, d.list(value.Message(), f, list)
		}
	case Map:
		if tree, ok := v.(map[string]any); ok {
			value := fresh()
			return value, d.object(value.Message(), f, tree)
		}
	case Record:
		if tree, ok := v.(map[string]any); ok {
			value := fresh()
			return value, d.record(value.Message(), f, tree)
		}
	}
	return protoreflect.Value{}, errKind
}

func (d decoder) list(m protoreflect.Message, f *Field, items []any) error {
	if len(items) == 0 {
		return nil
	}
	list := m.Mutable(f.values).List()
	for i, item := range items {
		value, err := d.value(f.Elem, item, list.NewElement)
		if err != nil {
			return fmt.Errorf("element %d: %w", i+1, err)
		}
		list.Append(value)
	}
	return nil
}

func (d decoder) object(m protoreflect.Message, f *Field, tree map[string]any) error {
	if len(tree) == 0 {
		return nil
	}
	values := m.Mutable(f.values).Map()
	for key, item := range tree {
		value, err := d.value(f.Elem, item, values.NewValue)
		if err != nil {
			return err
		}
		values.Set(protoreflect.ValueOfString(key).MapKey(), value)
	}
	return nil
}

func (d decoder) record(m protoreflect.Message, f *Field, tree map[string]any) error {
	for _, child := range f.Fields {
		v, found := tree[child.Name]
		if !found && d.stored {
			v = child.Default
		}
		if err := d.set(m, child, v); err != nil {
			return fmt.Errorf("%s: %w", child.Name, err)
		}
	}
	return nil
}
