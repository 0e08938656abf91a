package catalog

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The fields that the catalog's own rules look at are read by name: entities are concrete messages, and
// the schema guarantees the kinds.

func fieldOf(m proto.Message, name string) (protoreflect.Message, protoreflect.FieldDescriptor) {
	r := m.ProtoReflect()
	return r, r.Descriptor().Fields().ByName(protoreflect.Name(name))
}

func has(m proto.Message, name string) bool {
	r, d := fieldOf(m, name)
	return d != nil && r.Has(d)
}

func text(m proto.Message, name string) string {
	r, d := fieldOf(m, name)
	if d == nil || d.Kind() != protoreflect.StringKind {
		return ""
	}
	return r.Get(d).String()
}

func setText(m proto.Message, name, value string) {
	r, d := fieldOf(m, name)
	r.Set(d, protoreflect.ValueOfString(value))
}

func clearField(m proto.Message, name string) {
	if r, d := fieldOf(m, name); d != nil {
		r.Clear(d)
	}
}

// copyField makes a field of m what it is in from.
func copyField(m, from proto.Message, name string) {
	r, d := fieldOf(m, name)
	source, _ := fieldOf(from, name)
	if d == nil {
		return
	}
	if !source.Has(d) {
		r.Clear(d)
		return
	}
	r.Set(d, source.Get(d))
}

// refID is the id that a foreign key holds, or "".
func refID(m proto.Message, name string) string {
	r, d := fieldOf(m, name)
	if d == nil || d.Kind() != protoreflect.MessageKind || !r.Has(d) {
		return ""
	}
	ref := r.Get(d).Message()
	return ref.Get(ref.Descriptor().Fields().ByName("id")).String()
}

// values are the strings of a set or array.
func values(m proto.Message, name string) (list []string) {
	r, d := fieldOf(m, name)
	if d == nil || !r.Has(d) {
		return nil
	}
	wrapper := r.Get(d).Message()
	items := wrapper.Get(wrapper.Descriptor().Fields().ByName("values")).List()
	for i := range items.Len() {
		list = append(list, items.Get(i).String())
	}
	return list
}

// setValues makes a set or array of strings, empty when list is.
func setValues(m proto.Message, name string, list []string) {
	r, d := fieldOf(m, name)
	wrapper := r.NewField(d)
	if len(list) > 0 {
		items := wrapper.Message().Mutable(wrapper.Message().Descriptor().Fields().ByName("values")).List()
		for _, item := range list {
			items.Append(protoreflect.ValueOfString(item))
		}
	}
	r.Set(d, wrapper)
}
