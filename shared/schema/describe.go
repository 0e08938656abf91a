package schema

import (
	"encoding/json"
	"strings"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// Describe returns the JSON of GET /schemas/{table}.
func (s *Schema) Describe(table string) (body []byte, found bool) {
	e, found := s.tables[table]
	if !found || e.Internal {
		return nil, false
	}
	doc := map[string]any{"name": e.Table, "primary_key": []any{"id"}, "fields": describeFields(e.Fields)}
	if e.EndpointKey != "" {
		doc["endpoint_key"] = e.EndpointKey
	}
	if e.Workspaced {
		doc["workspaceable"] = true
	}
	var keys []any
	for _, u := range e.Unique {
		if len(u.Fields) > 1 {
			keys = append(keys, fieldNames(u.Fields))
		}
	}
	if len(keys) > 0 {
		doc["cache_key"] = keys[0]
	}
	doc["entity_checks"] = describeChecks(e.record.checks)
	return appendTree(nil, doc), true
}

// DescribePlugin returns the JSON of GET /schemas/plugins/{name}.
func (s *Schema) DescribePlugin(name string) (body []byte, found bool) {
	p, found := s.plugins[name]
	if !found {
		return nil, false
	}
	fields := []any{
		map[string]any{"protocols": describeField(p.protocols)},
		map[string]any{"config": map[string]any{
			"type": "record", "required": true, "fields": describeFields(p.config.Fields),
		}},
	}
	if p.NoConsumer {
		none := func(table string) map[string]any {
			return map[string]any{"type": "foreign", "reference": table, "eq": nil}
		}
		fields = append([]any{map[string]any{"consumer": none("consumers")}, map[string]any{"consumer_group": none("consumer_groups")}}, fields...)
	}
	doc := map[string]any{"name": p.Name, "fields": fields, "entity_checks": describeChecks(p.config.checks)}
	return appendTree(nil, doc), true
}

func fieldNames(fields []*Field) []any {
	names := make([]any, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

func describeFields(fields []*Field) []any {
	list := []any{}
	for _, f := range fields {
		if f.onAPI() {
			list = append(list, map[string]any{f.Name: describeField(f)})
		}
	}
	return list
}

// describeField writes what decK and Kong's clients read of a field.
func describeField(f *Field) map[string]any {
	d := map[string]any{"type": f.Kind.String()}
	describeFlags(f, d)
	if f.Default != nil {
		d["default"] = f.Default
	}
	switch f.Kind {
	case Foreign:
		d["reference"] = f.Reference
		if f.marks.GetForeign().GetOnDelete() == schemav1.OnDelete_ON_DELETE_CASCADE {
			d["on_delete"] = "cascade"
		}
	case Config:
		d["abstract"] = true
	case Record:
		d["fields"] = describeFields(f.Fields)
		if checks := describeChecks(f.checks); len(checks) > 0 {
			d["entity_checks"] = checks
		}
	case Set, Array:
		d["elements"] = describeField(f.Elem)
	case Map:
		d["values"] = describeField(f.Elem)
		d["keys"] = map[string]any{"type": "string"}
		if f.Key != nil {
			d["keys"] = describeField(f.Key)
		}
	}
	describeLimits(f, d)
	return d
}

func describeFlags(f *Field, d map[string]any) {
	flags := map[string]bool{
		"required": f.Required, "unique": f.Unique, "immutable": f.Immutable, "encrypted": f.Encrypted,
		"referenceable": f.Referenceable, "auto": f.Auto != schemav1.Auto_AUTO_UNSPECIFIED || f.Computed,
		"uuid":             f.marks.GetFormat() == schemav1.Format_FORMAT_UUID,
		"timestamp":        f.Auto == autoCreated || f.Auto == autoUpdated,
		"transient":        f.Visibility == Transient,
		"unique_across_ws": f.marks.GetAcrossWorkspaces(),
	}
	for name, set := range flags {
		if set {
			d[name] = true
		}
	}
	if f.marks.GetFractionalSeconds() {
		d["type"] = Number.String()
	}
}

func describeLimits(f *Field, d map[string]any) {
	m := f.marks
	if b := m.GetBetween(); b != nil {
		d["between"] = []any{b.GetMin(), b.GetMax()}
	}
	if m.Gt != nil {
		d["gt"] = m.GetGt()
	}
	if m.LenMin != nil {
		d["len_min"] = m.GetLenMin()
	}
	if m.LenMax != nil {
		d["len_max"] = m.GetLenMax()
	}
	if len(m.GetOneOf()) > 0 {
		d["one_of"] = choices(f, m.GetOneOf())
	}
	if len(m.GetNotOneOf()) > 0 {
		d["not_one_of"] = choices(f, m.GetNotOneOf())
	}
	if m.GetPattern() != "" {
		d["match"] = m.GetPattern()
	}
	switch m.GetFormat() {
	case schemav1.Format_FORMAT_PATH:
		d["starts_with"] = "/"
	case schemav1.Format_FORMAT_UNSPECIFIED:
	default:
		name := strings.TrimPrefix(m.GetFormat().String(), "FORMAT_")
		d["format"] = strings.ToLower(name)
	}
}

// choices writes one_of with the type of the field.
func choices(f *Field, names []string) []any {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = name
		if n, ok := toInt(json.Number(name)); ok && f.Kind == Integer {
			list[i] = n
		}
	}
	return list
}

func describeChecks(checks []*schemav1.Check) []any {
	list := []any{}
	add := func(name string, set *schemav1.FieldSet) {
		if len(set.GetFields()) > 0 {
			list = append(list, map[string]any{name: texts(set.GetFields())})
		}
	}
	for _, c := range checks {
		add("at_least_one_of", c.GetAtLeastOneOf())
		add("only_one_of", c.GetOnlyOneOf())
		add("exactly_one_of", c.GetExactlyOneOf())
		add("all_or_none_of", c.GetAllOrNoneOf())
		if c.GetConditional() != nil {
			list = append(list, map[string]any{"conditional": describeConditional(c.GetConditional())})
		}
		if c.GetCustom() != "" {
			list = append(list, map[string]any{"custom_entity_check": map[string]any{"name": c.GetCustom()}})
		}
	}
	return list
}

func describeConditional(c *schemav1.Conditional) map[string]any {
	when, then := map[string]any{}, map[string]any{}
	if len(c.GetIfOneOf()) > 0 {
		when["one_of"] = texts(c.GetIfOneOf())
	}
	if len(c.GetIfNotOneOf()) > 0 {
		when["not_one_of"] = texts(c.GetIfNotOneOf())
	}
	if c.GetThenNull() {
		then["eq"] = nil
	}
	if c.GetThen().GetRequired() {
		then["required"] = true
	}
	if len(c.GetThen().GetOneOf()) > 0 {
		then["one_of"] = texts(c.GetThen().GetOneOf())
	}
	return map[string]any{
		"if_field": c.GetIfField(), "if_match": when, "then_field": c.GetThenField(), "then_match": then,
	}
}

func texts(list []string) []any {
	items := make([]any, len(list))
	for i, s := range list {
		items[i] = s
	}
	return items
}
