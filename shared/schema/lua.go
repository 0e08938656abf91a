package schema

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
)

// LuaTable writes values as a Lua table literal, the way Kong's messages name keys: {id="…"}, or
// {consumer=null,name="basic-auth",service={id="…"}}. Keys are sorted.
func LuaTable(values map[string]any) string {
	var b strings.Builder
	luaTable(&b, values)
	return b.String()
}

func luaTable(b *strings.Builder, values map[string]any) {
	b.WriteByte('{')
	for i, key := range sortedKeys(values) {
		if i > 0 {
			b.WriteByte(',')
		}
		if isLuaName(key) {
			b.WriteString(key)
		} else {
			fmt.Fprintf(b, "[%s]", luaString(key))
		}
		b.WriteByte('=')
		luaValue(b, values[key])
	}
	b.WriteByte('}')
}

func luaValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		luaTable(b, v)
	case []any:
		luaList(b, v)
	case string:
		b.WriteString(luaString(v))
	default:
		b.Write(appendTree(nil, v))
	}
}

// luaList writes a list; where it has gaps, what is there gets its index.
func luaList(b *strings.Builder, items []any) {
	b.WriteByte('{')
	gap, first := false, true
	for i, item := range items {
		if item == nil {
			gap = true
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		if gap {
			fmt.Fprintf(b, "[%d]=", i+1)
		}
		luaValue(b, item)
	}
	b.WriteByte('}')
}

func luaString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(s) + `"`
}

func isLuaName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// redacted stands where a message would show the value of an encrypted field.
const redacted = "REDACTED"

// keyOf returns the values of a unique key as the Admin API shows them.
func keyOf(u *Unique, m proto.Message) map[string]any {
	r := m.ProtoReflect()
	key := map[string]any{}
	for i, f := range u.Fields {
		switch {
		case !r.Has(f.desc) && i >= len(u.Fields)-u.Optional:
		case !r.Has(f.desc):
			key[f.Name] = nil
		case f.Encrypted:
			key[f.Name] = redacted
		case f.Kind == Foreign:
			key[f.Name] = map[string]any{"id": text(f, r)}
		default:
			key[f.Name] = text(f, r)
		}
	}
	return key
}

// UniqueViolation says that another row has the same value in a unique column (code 5, HTTP 409). The value of
// an encrypted field is not repeated.
func (s *Schema) UniqueViolation(e *Entity, m proto.Message, column string) *Violations {
	key := map[string]any{}
	for _, u := range e.Unique {
		if u.Column == column {
			key = keyOf(u, m)
		}
	}
	return &Violations{
		code: 5, name: "unique constraint violation", fields: key,
		message: "UNIQUE violation detected on '" + LuaTable(key) + "'",
	}
}

// PrimaryKeyViolation says that a row with this id exists already (code 3, HTTP 400).
func PrimaryKeyViolation(id string) *Violations {
	key := map[string]any{"id": id}
	return &Violations{
		code: 3, name: "primary key violation", fields: key,
		message: "primary key violation on key '" + LuaTable(key) + "'",
	}
}

// ForeignKeyViolation says that a foreign key names no row (code 4, HTTP 400).
func ForeignKeyViolation(field, table, id string) *Violations {
	key := map[string]any{"id": id}
	return &Violations{
		code: 4, name: "foreign key violation", fields: map[string]any{field: key},
		message: fmt.Sprintf("the foreign key '%s' does not reference an existing '%s' entity.", LuaTable(key), table),
	}
}

// ReferencedViolation says that a row cannot go because a child refers to it (code 4, HTTP 400).
func ReferencedViolation(parent, child string) *Violations {
	return &Violations{
		code: 4, name: "foreign key violation", fields: map[string]any{"@referenced_by": child},
		message: fmt.Sprintf("an existing '%s' entity references this '%s' entity", child, parent),
	}
}

// FieldViolation says that one field is wrong (code 2, HTTP 400), for rules that need other rows to be checked.
// An empty field means the whole entity; one of a record is given as a path with dots.
func FieldViolation(field, message string) *Violations {
	p := problems{}
	if field == "" {
		p.entity(message)
		return schemaViolation(p)
	}
	names := strings.Split(field, ".")
	at := p
	for _, record := range names[:len(names)-1] {
		inner := problems{}
		at[record] = map[string]any(inner)
		at = inner
	}
	at.field(names[len(names)-1], message)
	return schemaViolation(p)
}
