package schema

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/shared/fault"
)

// merge lays the document over the current row.
func (b *build) merge(current map[string]any) {
	e := b.entity
	if e.config != nil {
		name, given := b.doc[e.name.Name]
		if given && name != current[e.name.Name] {
			delete(current, e.config.Name) // another plugin: nothing of the old configuration fits
		}
	}
	b.tree = b.overlay(e.record, current, b.doc)
}

// overlay merges records deeply; everything else is replaced.
func (b *build) overlay(record *Field, old, changes map[string]any) map[string]any {
	for name, v := range changes {
		f := record.field(name)
		if f != nil && f.Kind == Config && b.plugin != nil {
			f = b.plugin.config
		}
		before, isRecord := old[name].(map[string]any)
		after, ok := v.(map[string]any)
		if ok && isRecord && f != nil && f.Kind == Record {
			v = b.overlay(f, before, after)
		}
		old[name] = v
	}
	return old
}

// tree returns a row as the Admin API shows it.
func (s *Schema) tree(e *Entity, m protoreflect.Message) (map[string]any, error) {
	tree := make(map[string]any, len(e.Fields))
	for _, f := range e.Fields {
		if f.Visibility != Shown {
			continue
		}
		if f.Kind != Config {
			tree[f.Name] = fieldTree(f, m)
			continue
		}
		data := m.Get(f.desc).Bytes()
		p := s.plugins[m.Get(e.name.desc).String()]
		if p == nil || isRawJSON(data) {
			doc, err := ParseJSON((&encoder{schema: s}).config(nil, m.Get(e.name.desc).String(), data))
			if err != nil {
				return nil, err
			}
			tree[f.Name] = doc
			continue
		}
		config, err := p.message(data)
		if err != nil {
			return nil, err
		}
		tree[f.Name] = recordTree(p.config, config)
	}
	return tree, nil
}

func recordTree(f *Field, m protoreflect.Message) map[string]any {
	tree := make(map[string]any, len(f.Fields))
	for _, child := range f.Fields {
		tree[child.Name] = fieldTree(child, m)
	}
	return tree
}

func fieldTree(f *Field, m protoreflect.Message) any {
	if !m.Has(f.desc) {
		return nil
	}
	if f.marks.GetFractionalSeconds() {
		return float64(m.Get(f.desc).Int()) / 1000
	}
	return valueTree(f, m.Get(f.desc))
}

func valueTree(f *Field, v protoreflect.Value) any {
	switch f.Kind {
	case Foreign:
		return map[string]any{"id": v.Message().Get(f.values).String()}
	case Record:
		return recordTree(f, v.Message())
	case Set, Array:
		list := v.Message().Get(f.values).List()
		items := make([]any, list.Len())
		for i := range items {
			items[i] = valueTree(f.Elem, list.Get(i))
		}
		return items
	case Map:
		tree := map[string]any{}
		v.Message().Get(f.values).Map().Range(func(key protoreflect.MapKey, item protoreflect.Value) bool {
			tree[key.String()] = valueTree(f.Elem, item)
			return true
		})
		return tree
	}
	return v.Interface()
}

// Document returns a row as the document that would build it again: what the Admin API shows. A key that ends
// has its remaining time, at least a second, since zero would mean that it does not end.
func (s *Schema) Document(e *Entity, m proto.Message) (Document, error) {
	doc, err := s.tree(e, m.ProtoReflect())
	if err != nil {
		return nil, fault.New(fault.Corrupt, "schema.Document", e.Table, err)
	}
	if f := e.Field(ttl); f != nil && m.ProtoReflect().Has(e.Field(expiresAt).desc) {
		doc[ttl] = max(1, m.ProtoReflect().Get(e.Field(expiresAt).desc).Int()-time.Now().Unix())
	}
	return doc, nil
}

// Same says whether two rows differ in nothing but the times of their writing.
func (s *Schema) Same(e *Entity, a, b proto.Message) bool {
	return proto.Equal(timeless(e, a), timeless(e, b))
}

// timeless returns a copy without created_at, updated_at and what is never stored.
func timeless(e *Entity, m proto.Message) proto.Message {
	m = proto.Clone(m)
	r := m.ProtoReflect()
	for _, f := range e.Fields {
		if f.Auto == autoCreated || f.Auto == autoUpdated || f.Visibility == Transient || f.Visibility == Wire {
			r.Clear(f.desc)
		}
	}
	return m
}
