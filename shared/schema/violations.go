package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Violations is an entity, or a request about one, refused in Kong's words. Its text never holds the value of
// an encrypted field.
type Violations struct {
	code    int
	name    string
	message string
	fields  map[string]any
}

// Error returns the message.
func (v *Violations) Error() string { return v.message }

// Code is Kong's number of the error: 2 for a schema violation, 13 for foreign keys that cannot be resolved.
func (v *Violations) Code() int { return v.code }

// Name is Kong's name of the error.
func (v *Violations) Name() string { return v.name }

// Message is one line for people.
func (v *Violations) Message() string { return v.message }

// Fields is a JSON tree of what is wrong with which field; "@entity" holds a list of what is wrong with the
// whole. A list has null where an element is right.
func (v *Violations) Fields() map[string]any { return v.fields }

// entityKey is where problems of a whole record stand among those of its fields.
const entityKey = "@entity"

// problems collects what is wrong: a text, a problems of a record or map, or a []any of a list, by field.
type problems map[string]any

func (p problems) entity(message string) {
	list, _ := p[entityKey].([]any)
	p[entityKey] = append(list, message)
}

// field notes a problem unless the field has one already.
func (p problems) field(name, message string) {
	if _, found := p[name]; !found {
		p[name] = message
	}
}

// none turns an empty collection into nil, so that it can be told from a problem.
func (p problems) orNil() any {
	if len(p) == 0 {
		return nil
	}
	return map[string]any(p)
}

func schemaViolation(p problems) *Violations {
	lines := flatten(nil, "", map[string]any(p))
	message := fmt.Sprintf("%d schema violations (%s)", len(lines), strings.Join(lines, "; "))
	if len(lines) == 1 {
		message = "schema violation (" + lines[0] + ")"
	}
	return &Violations{code: 2, name: "schema violation", message: message, fields: p}
}

func unresolvedForeign(p problems) *Violations {
	lines := flatten(nil, "", map[string]any(p))
	message := fmt.Sprintf("%d foreign keys unresolved (%s)", len(lines), strings.Join(lines, "; "))
	if len(lines) == 1 {
		message = "foreign key unresolved (" + lines[0] + ")"
	}
	return &Violations{code: 13, name: "foreign keys unresolved", message: message, fields: p}
}

// flatten writes one line a problem: those of the whole first, then by field, list elements counted from 1.
func flatten(lines []string, prefix string, v any) []string {
	switch v := v.(type) {
	case string:
		if prefix == "" {
			return append(lines, v)
		}
		return append(lines, prefix+": "+v)
	case []any:
		for i, item := range v {
			if item != nil {
				lines = flatten(lines, join(prefix, strconv.Itoa(i+1)), item)
			}
		}
	case map[string]any:
		if whole, ok := v[entityKey].([]any); ok {
			for _, item := range whole {
				lines = flatten(lines, prefix, item)
			}
		}
		for _, key := range sortedKeys(v) {
			if key != entityKey {
				lines = flatten(lines, join(prefix, key), v[key])
			}
		}
	}
	return lines
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// quoted lists names as Kong does: 'a', 'b'.
func quoted(names []string) string {
	return "'" + strings.Join(names, "', '") + "'"
}
