package schema

import (
	"fmt"
	"slices"
	"strings"
)

func checkList(f *Field, v any) (any, any) {
	items, ok := v.([]any)
	if empty, isMap := v.(map[string]any); isMap && len(empty) == 0 {
		items, ok = []any{}, true // Lua clients cannot tell {} from []
	}
	if !ok {
		return nil, expected(f.Kind)
	}
	checked := make([]any, 0, len(items))
	wrong := make([]any, len(items))
	last := 0
	seen := map[string]bool{}
	for i, item := range items {
		var value any
		if item == nil {
			wrong[i], last = expected(f.Elem.Kind), i+1
			continue
		}
		if value, wrong[i] = checkValue(f.Elem, item); wrong[i] != nil {
			last = i + 1
			continue
		}
		if f.Kind == Set {
			key := string(appendTree(nil, value))
			if seen[key] {
				continue // Kong makes a set of it without a word
			}
			seen[key] = true
		}
		checked = append(checked, value)
	}
	if last > 0 {
		return nil, wrong[:last]
	}
	if message := f.checkLength(len(checked)); message != "" {
		return nil, message
	}
	if message := f.checkExclusive(checked); message != "" {
		return nil, message
	}
	return checked, nil
}

func (f *Field) checkLength(n int) string {
	if f.marks.LenMin != nil && int64(n) < f.marks.GetLenMin() {
		return fmt.Sprintf("length must be at least %d", f.marks.GetLenMin())
	}
	if f.marks.LenMax != nil && int64(n) > f.marks.GetLenMax() {
		return fmt.Sprintf("length must be at most %d", f.marks.GetLenMax())
	}
	return ""
}

// checkExclusive refuses a set with members of several exclusive groups.
func (f *Field) checkExclusive(items []any) string {
	var touched []string
	for _, group := range f.marks.GetExclusiveGroups() {
		names := strings.Split(group, ",")
		if slices.ContainsFunc(items, func(item any) bool { s, _ := item.(string); return slices.Contains(names, s) }) {
			touched = append(touched, "("+quoted(names)+")")
		}
	}
	if len(touched) < 2 {
		return ""
	}
	return "these sets are mutually exclusive: " + strings.Join(touched, ", ")
}

func checkMap(f *Field, v any) (any, any) {
	tree, ok := v.(map[string]any)
	if empty, isList := v.([]any); isList && len(empty) == 0 {
		tree, ok = map[string]any{}, true
	}
	if !ok {
		return nil, expected(Map)
	}
	checked, wrong := make(map[string]any, len(tree)), problems{}
	for key, item := range tree {
		if !storable(key) {
			wrong[strings.ToValidUTF8(key, "?")] = "invalid value: not valid UTF-8 text"
			continue
		}
		if f.Key != nil {
			if _, problem := checkString(f.Key, key); problem != nil {
				wrong[key] = problem
				continue
			}
		}
		if item == nil {
			wrong[key] = expected(f.Elem.Kind)
			continue
		}
		value, problem := checkValue(f.Elem, item)
		if problem != nil {
			wrong[key] = problem
			continue
		}
		checked[key] = value
	}
	if len(wrong) > 0 {
		return nil, wrong.orNil()
	}
	if message := f.checkLength(len(checked)); message != "" {
		return nil, message
	}
	return checked, nil
}

// checkRecord checks a record. Where its fields are at fault it returns what it could read beside the problems.
func checkRecord(f *Field, v any) (any, any) {
	tree, ok := v.(map[string]any)
	if empty, isList := v.([]any); isList && len(empty) == 0 {
		tree, ok = map[string]any{}, true
	}
	if !ok {
		return nil, expected(Record)
	}
	checked, wrong := make(map[string]any, len(tree)), problems{}
	for name := range tree {
		if f.field(name) == nil {
			wrong[name] = unknownField
		}
	}
	for _, child := range f.Fields {
		value, problem := checkField(child, tree[child.Name])
		if problem != nil {
			wrong[child.Name] = problem
			continue
		}
		checked[child.Name] = value
	}
	for _, check := range f.checks {
		if check.GetCustom() == "" {
			runCheck(check, false, checked, wrong)
		}
	}
	return checked, wrong.orNil()
}
