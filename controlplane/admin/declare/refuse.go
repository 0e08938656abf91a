package declare

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/declarative"
	"github.com/keepgate/keepgate/shared/schema"
)

// entityKey holds, in a tree of problems, what is wrong with a whole entity.
const entityKey = "@entity"

// problem is one thing wrong with a file, for people: where, and what.
type problem struct {
	Line    int    `json:"line"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// refusal is everything that is wrong with a file.
type refusal struct {
	fields   map[string]any
	problems []problem
}

// ofFile is what the file alone shows.
func ofFile(problems *declarative.Problems) refusal {
	r := refusal{fields: problems.Fields()}
	for _, p := range problems.List {
		r.problems = append(r.problems, problem{p.Line, p.Field(), p.Message})
	}
	return r
}

// ofSet is what the database shows.
func ofSet(refused *catalog.SetError, file *declarative.File) refusal {
	r := refusal{fields: map[string]any{}}
	for _, f := range refused.Faults {
		if f.Item < 0 || f.Item >= len(file.Entities) {
			r.problems = append(r.problems, problem{Message: f.Problem.Message})
			plant(r.fields, nil, map[string]any{entityKey: []any{f.Problem.Message}})
			continue
		}
		e := file.Entities[f.Item]
		tree := f.Problem.Fields
		if f.Problem.Code != catalog.SchemaViolation && f.Problem.Code != catalog.ForeignKeysUnresolved {
			tree = map[string]any{entityKey: []any{f.Problem.Message}} // its fields are values, not messages
		}
		for _, l := range leaves(nil, "", tree) {
			r.problems = append(r.problems, problem{e.Line, strings.TrimSuffix(e.Path+"."+l.field, "."), l.message})
		}
		plant(r.fields, pathOf(e.Path), tree)
	}
	slices.SortStableFunc(r.problems, func(a, b problem) int { return cmp.Compare(a.Line, b.Line) })
	return r
}

// refuse makes Kong's body, with our list of lines beside it.
func (a *API) refuse(r refusal, text []byte, o options) error {
	body := map[string]any{
		"code": 14, "name": "invalid declarative configuration", "fields": r.fields, "problems": r.problems,
		"message": "declarative config is invalid: " + schema.LuaTable(r.fields),
	}
	if o.flatten {
		body["flattened_errors"] = a.flatten(r.fields, text)
		rest := map[string]any{}
		for key, v := range r.fields { // what is not about an entity stays
			if _, isTable := a.schema.Entity(key); !isTable {
				rest[key] = v
			}
		}
		body["fields"] = rest
	}
	return &rest.Refusal{Status: http.StatusBadRequest, Body: body}
}

type leaf struct{ field, message string }

// leaves writes a tree of problems as lines: "paths.1", elements counted from 1.
func leaves(lines []leaf, prefix string, tree any) []leaf {
	dot := func(step string) string { return strings.TrimPrefix(prefix+"."+step, ".") }
	switch tree := tree.(type) {
	case string:
		return append(lines, leaf{prefix, tree})
	case []any:
		for i, item := range tree {
			lines = leaves(lines, dot(strconv.Itoa(i+1)), item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(tree)) {
			if key != entityKey {
				lines = leaves(lines, dot(key), tree[key])
				continue
			}
			messages, _ := tree[key].([]any)
			for _, message := range messages {
				lines = leaves(lines, prefix, message)
			}
		}
	}
	return lines
}

// pathOf takes "services[0].routes[1]" apart.
func pathOf(path string) (steps []any) {
	for part := range strings.SplitSeq(path, ".") {
		name, index, _ := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		steps = append(steps, name)
		if n, err := strconv.Atoi(index); err == nil {
			steps = append(steps, n)
		}
	}
	return steps
}

// plant merges tree into root at the end of a path.
func plant(root any, path []any, tree map[string]any) any {
	if len(path) == 0 {
		members, ok := root.(map[string]any)
		if !ok {
			return tree
		}
		for key, v := range tree {
			if list, ok := members[key].([]any); ok && key == entityKey {
				more, _ := v.([]any)
				v = append(list, more...)
			}
			members[key] = v
		}
		return members
	}
	if step, ok := path[0].(int); ok {
		items, _ := root.([]any)
		for len(items) <= step {
			items = append(items, nil)
		}
		items[step] = plant(items[step], path[1:], tree)
		return items
	}
	members, ok := root.(map[string]any)
	if !ok {
		members = map[string]any{}
	}
	name, _ := path[0].(string)
	members[name] = plant(members[name], path[1:], tree)
	return members
}

// flattened is what is wrong with one entity, in Kong's form.
type flattened struct {
	Type   string         `json:"entity_type"`
	Name   any            `json:"entity_name,omitempty"`
	ID     any            `json:"entity_id,omitempty"`
	Tags   any            `json:"entity_tags,omitempty"`
	Entity map[string]any `json:"entity"`
	Errors []flatError    `json:"errors"`
}

type flatError struct {
	Type    string `json:"type"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// flatten lists the problems by entity. Of an entity it repeats what identifies it and none of its secrets.
func (a *API) flatten(fields map[string]any, text []byte) []flattened {
	var given any
	_ = yaml.Unmarshal(text, &given) // what cannot be read has no entities
	list := []flattened{}
	a.descend(&list, fields, given)
	return list
}

// descend walks the tree of problems beside the file, from a record that may hold lists of entities.
func (a *API) descend(list *[]flattened, fields map[string]any, given any) {
	record, _ := given.(map[string]any)
	for _, e := range a.schema.Entities() {
		items, ok := fields[e.Table].([]any)
		if !ok {
			continue
		}
		entities, _ := record[e.Table].([]any)
		for i, item := range items {
			tree, ok := item.(map[string]any)
			if text, isText := item.(string); isText {
				tree, ok = map[string]any{entityKey: []any{text}}, true
			}
			if !ok {
				continue
			}
			var entity any
			if i < len(entities) {
				entity = entities[i]
			}
			a.flattenOne(list, e, tree, entity)
		}
	}
}

func (a *API) flattenOne(list *[]flattened, e *schema.Entity, tree map[string]any, given any) {
	entity, _ := given.(map[string]any)
	own := maps.Clone(tree)
	for key, v := range tree {
		if _, isTable := a.schema.Entity(key); isTable && e.Field(key) == nil {
			if _, isList := v.([]any); isList {
				delete(own, key)
			}
		}
	}
	one := flattened{Type: strings.TrimSuffix(e.Table, "s"), ID: entity["id"], Tags: entity["tags"], Entity: map[string]any{}}
	for _, name := range []string{"id", "name", "username", "custom_id", "instance_name", "tags"} {
		if v, found := entity[name]; found {
			one.Entity[name] = v
		}
	}
	if f := e.Field(e.EndpointKey); f != nil && !f.Encrypted {
		one.Name = entity[f.Name]
	}
	for _, l := range leaves(nil, "", own) {
		kind := "field"
		if l.field == "" {
			kind = "entity"
		}
		one.Errors = append(one.Errors, flatError{kind, l.field, l.message})
	}
	if len(one.Errors) > 0 {
		*list = append(*list, one)
	}
	a.descend(list, tree, entity)
}

// messages lists the entities of a dump.
func messages(dump catalog.Dump) (all []proto.Message) {
	for _, table := range dump.Tables {
		all = append(all, table.Entities...)
	}
	return all
}
