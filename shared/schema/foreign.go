package schema

import (
	"fmt"

	"github.com/keepgate/keepgate/shared/schema/internal/format"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// resolve replaces every foreign key given by a unique field by the id of the row.
func (b *build) resolve(r Resolver) (unresolved problems, err error) {
	unresolved = problems{}
	for _, key := range b.entity.Foreign {
		name := key.Field.Name
		given, ok := b.tree[name].(map[string]any)
		if !ok || given["id"] != nil {
			continue
		}
		parent := b.schema.tables[key.Table]
		for _, field := range sortedKeys(given) {
			value, isText := given[field].(string)
			f := parent.Field(field)
			if !isText || f == nil || !f.Unique || f.Encrypted || !f.onAPI() {
				continue
			}
			id, found := "", false
			if r != nil {
				if id, found, err = r.Resolve(key.Table, field, value); err != nil {
					return nil, err
				}
			}
			if found {
				b.tree[name] = map[string]any{"id": id}
				delete(unresolved, name)
				break
			}
			unresolved[name] = map[string]any{field: fmt.Sprintf(
				"the foreign key cannot be resolved with '%s' for an existing '%s' entity",
				LuaTable(map[string]any{field: value}), key.Table)}
		}
	}
	return unresolved, nil
}

// pointToNames tells of an id that is none which other field may name the row.
func (b *build) pointToNames() {
	for _, key := range b.entity.Foreign {
		problem, _ := b.problems[key.Field.Name].(map[string]any)
		message, _ := problem["id"].(string)
		given, _ := b.tree[key.Field.Name].(map[string]any)
		parent := b.schema.tables[key.Table]
		if _, isText := given["id"].(string); !isText || message == "" || !parent.named() {
			continue
		}
		problem["id"] = message + "; " + key.Field.Name + "." + parent.EndpointKey + " takes a name"
	}
}

// named says whether foreign keys may give the row's name in place of its id.
func (e *Entity) named() bool {
	f := e.Field(e.EndpointKey)
	return f != nil && f.Unique && !f.Encrypted && f.onAPI()
}

// checkForeign checks a foreign key once names are resolved. Members beside the id are passed over, as Kong does.
func checkForeign(v any) (any, any) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, expected(Record)
	}
	id, found := given["id"]
	if !found || id == nil {
		return nil, "missing primary key"
	}
	text, ok := id.(string)
	if !ok {
		return nil, map[string]any{"id": expected(String)}
	}
	text, message := format.Check(schemav1.Format_FORMAT_UUID, text)
	if message != "" {
		return nil, map[string]any{"id": message}
	}
	return map[string]any{"id": text}, nil
}
