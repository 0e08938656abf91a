package schema

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Columns returns the top-level encrypted fields of a row by name, those that are null left out. The values
// are whatever the message holds: plaintext, or sealed after Secrets has sealed them.
func (s *Schema) Columns(e *Entity, m proto.Message) map[string]string {
	columns := make(map[string]string, len(e.Sealed))
	r := m.ProtoReflect()
	for _, f := range e.Sealed {
		if r.Has(f.desc) {
			columns[f.Name] = r.Get(f.desc).String()
		}
	}
	return columns
}

// SetColumns puts what Columns returned into a row that DecodeStored made.
func (s *Schema) SetColumns(e *Entity, m proto.Message, columns map[string]string) {
	r := m.ProtoReflect()
	for _, f := range e.Sealed {
		if value, found := columns[f.Name]; found {
			r.Set(f.desc, protoreflect.ValueOfString(value))
		}
	}
}

// UniqueValues returns the values of the unique columns by column. A single field that is null has none. A
// set of fields has always one: the JSON array of its values, foreign keys by id, null where unset. Where the
// column is a fingerprint (Unique.Fingerprint) the value is the plaintext, and the caller replaces it.
func (s *Schema) UniqueValues(e *Entity, m proto.Message) map[string]string {
	values := make(map[string]string, len(e.Unique))
	r := m.ProtoReflect()
	for _, u := range e.Unique {
		if len(u.Fields) == 1 {
			if f := u.Fields[0]; r.Has(f.desc) {
				values[u.Column] = text(f, r)
			}
			continue
		}
		key := []byte{'['}
		for i, f := range u.Fields {
			if i > 0 {
				key = append(key, ',')
			}
			if r.Has(f.desc) {
				key = appendString(key, text(f, r))
			} else {
				key = append(key, "null"...)
			}
		}
		values[u.Column] = string(append(key, ']'))
	}
	return values
}

// ForeignValues returns the ids that a row refers to by column, null ones left out.
func (s *Schema) ForeignValues(e *Entity, m proto.Message) map[string]string {
	values := make(map[string]string, len(e.Foreign))
	r := m.ProtoReflect()
	for _, f := range e.Foreign {
		if r.Has(f.Field.desc) {
			values[f.Column] = text(f.Field, r)
		}
	}
	return values
}

// text returns a string field or the id of a foreign key.
func text(f *Field, m protoreflect.Message) string {
	if f.Kind == Foreign {
		return m.Get(f.desc).Message().Get(f.values).String()
	}
	return m.Get(f.desc).String()
}
