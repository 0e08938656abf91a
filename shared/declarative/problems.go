package declarative

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/schema"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	Line    int
	Path    []any // keys and positions from the top of the file: "services", 0, "host"
	Message string
	whole   bool // about the entity at Path, not about one field of it
}

// Field writes the path for people: services[0].host. Positions count from 0.
func (p Problem) Field() string {
	var b strings.Builder
	for _, step := range p.Path {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step) + "]")
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// Problems is everything that is wrong with a file, in the order of its lines.
type Problems struct {
	File string
	List []Problem
}

// Error writes one line a problem: "file:line: field: message".
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = fmt.Sprintf("%s:%d: ", p.File, problem.Line)
		if field := problem.Field(); field != "" {
			lines[i] += field + ": "
		}
		lines[i] += problem.Message
	}
	return strings.Join(lines, "\n")
}

// Fields returns the problems as Kong's tree: lists with null where an entry is right, "@entity" for what is
// wrong with a whole entry.
func (p *Problems) Fields() map[string]any {
	var root any = map[string]any{}
	for _, problem := range p.List {
		path := problem.Path
		switch {
		case len(path) == 0:
			path = []any{"@file"}
		case problem.whole:
			path = with(path, entityKey)
		}
		root = plant(root, path, problem.Message)
	}
	tree, _ := root.(map[string]any)
	return tree
}

const entityKey = "@entity"

// Message is Kong's message for the whole.
func (p *Problems) Message() string {
	return "declarative config is invalid: " + schema.LuaTable(p.Fields())
}

// plant puts a message at the end of a path into a tree and returns the tree. What stands in the way of a path
// is about the whole of it.
func plant(tree any, path []any, message string) any {
	if len(path) == 0 {
		if tree == nil {
			return message
		}
		return plant(tree, []any{entityKey}, message)
	}
	if step, ok := path[0].(int); ok {
		items, _ := tree.([]any)
		for len(items) <= step {
			items = append(items, nil)
		}
		items[step] = plant(items[step], path[1:], message)
		return items
	}
	members, ok := tree.(map[string]any)
	if !ok {
		members = map[string]any{}
		if tree != nil {
			members[entityKey] = []any{tree}
		}
	}
	key, _ := path[0].(string)
	if key == entityKey {
		list, _ := members[key].([]any)
		members[key] = append(list, message)
		return members
	}
	members[key] = plant(members[key], path[1:], message)
	return members
}

func (p *Problems) add(line int, path []any, message string) {
	p.List = append(p.List, Problem{Line: line, Path: slices.Clone(path), Message: message})
}

func (p *Problems) sort() {
	slices.SortStableFunc(p.List, func(a, b Problem) int { return a.Line - b.Line })
}

// with returns path with one more step, without sharing its memory.
func with(path []any, step any) []any {
	return append(slices.Clip(slices.Clone(path)), step)
}
