package schema

import "google.golang.org/protobuf/reflect/protoreflect"

// walk gives the strings of a message to visit, and keeps what that returns in their place. It stops at the first error.
type walk struct {
	into  func(f *Field) bool // the field is to be visited, or holds something that is
	visit func(f *Field, value string) (string, error)
}

func (w walk) record(f *Field, m protoreflect.Message) error {
	for _, child := range f.Fields {
		if !w.into(child) || !m.Has(child.desc) {
			continue
		}
		if err := w.member(child, m); err != nil {
			return err
		}
	}
	return nil
}

func (w walk) member(f *Field, m protoreflect.Message) error {
	if f.Kind != String {
		return w.inside(f, m.Mutable(f.desc).Message())
	}
	value, err := w.visit(f, m.Get(f.desc).String())
	if err == nil {
		m.Set(f.desc, protoreflect.ValueOfString(value))
	}
	return err
}

// inside walks a record or a collection.
func (w walk) inside(f *Field, m protoreflect.Message) error {
	if f.Kind == Record {
		return w.record(f, m)
	}
	if !m.Has(f.values) {
		return nil
	}
	if f.Kind == Map {
		return w.entries(f, m.Mutable(f.values).Map())
	}
	list := m.Mutable(f.values).List()
	for i := range list.Len() {
		if f.Elem.Kind != String {
			if err := w.inside(f.Elem, list.Get(i).Message()); err != nil {
				return err
			}
			continue
		}
		value, err := w.visit(f.Elem, list.Get(i).String())
		if err != nil {
			return err
		}
		list.Set(i, protoreflect.ValueOfString(value))
	}
	return nil
}

func (w walk) entries(f *Field, values protoreflect.Map) error {
	var err error
	values.Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
		if f.Elem.Kind != String {
			err = w.inside(f.Elem, v.Message())
			return err == nil
		}
		var value string
		if value, err = w.visit(f.Elem, v.String()); err == nil {
			values.Set(key, protoreflect.ValueOfString(value))
		}
		return err == nil
	})
	return err
}
