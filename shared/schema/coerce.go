package schema

import (
	"encoding/json"
	"strconv"
	"strings"
)

// coerce gives the strings of a form the types that the schema has for them.
func coerce(f *Field, v any) any {
	if nullIfEmpty(v) == nil {
		return nil
	}
	switch f.Kind {
	case Integer, Number:
		if s, ok := v.(string); ok && isNumber(s) {
			return json.Number(s)
		}
	case Boolean:
		switch v {
		case "true":
			return true
		case "false":
			return false
		}
	case Set, Array:
		return coerceList(f, v)
	case Map:
		if tree, ok := v.(map[string]any); ok {
			for key, item := range tree {
				tree[key] = coerceElement(f.Elem, item)
			}
		}
	case Record:
		if tree, ok := v.(map[string]any); ok {
			for name, item := range tree {
				if child := f.field(name); child != nil {
					tree[name] = coerce(child, item)
				}
			}
		}
	}
	return v
}

func coerceList(f *Field, v any) any {
	switch v := v.(type) {
	case string:
		return []any{coerceElement(f.Elem, v)}
	case []any:
		for i, item := range v {
			v[i] = coerceElement(f.Elem, item)
		}
	}
	return v
}

// coerceElement leaves an empty element what it is, so that Build can say which one is empty.
func coerceElement(f *Field, v any) any {
	if v == "" {
		return v
	}
	return coerce(f, v)
}

func nullIfEmpty(v any) any {
	if v == "" {
		return nil
	}
	return v
}

// isNumber says whether s is a decimal number, so that it is also one in JSON.
func isNumber(s string) bool {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return false
	}
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}
