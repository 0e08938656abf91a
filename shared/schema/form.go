package schema

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ParseForm reads an application/x-www-form-urlencoded body as Kong does: "a.b=x" nests, "a[]=x", "a[1]=x" and a
// repeated "a=x" make arrays, "a[key]=x" makes a map entry, a lone value becomes an array where the schema says
// so, an empty value is null, numbers and booleans are read where the schema has them. What cannot be read as
// its kind stays a string, and Build refuses it.
func (s *Schema) ParseForm(e *Entity, body []byte) (Document, error) {
	var arguments []argument
	for pair := range bytes.SplitSeq(body, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		if len(arguments) == MaxArguments {
			return nil, ErrTooManyArguments
		}
		name, value, _ := strings.Cut(string(pair), "=")
		var err error
		if name, err = url.QueryUnescape(name); err != nil {
			return nil, ErrForm
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, ErrForm
		}
		arguments = append(arguments, argument{name, value})
	}
	return s.fromArguments(e, arguments)
}

// ParseMultipart reads a multipart/form-data body: as ParseForm, with the content of every part, a file's too,
// as one value.
func (s *Schema) ParseMultipart(e *Entity, body []byte, boundary string) (Document, error) {
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	var arguments []argument
	for {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return s.fromArguments(e, arguments)
		}
		if err != nil {
			return nil, ErrForm
		}
		if len(arguments) == MaxArguments {
			return nil, ErrTooManyArguments
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, ErrForm
		}
		arguments = append(arguments, argument{part.FormName(), string(value)})
	}
}

type argument struct{ name, value string }

// step is one step into a tree: a member by its key, or an element of an array.
type step struct {
	key     string
	element bool
	index   int // from 1; 0 appends
}

// maxSteps bounds how deep one argument can nest.
const maxSteps = 32

func (s *Schema) fromArguments(e *Entity, arguments []argument) (Document, error) {
	root := &node{}
	for _, a := range arguments {
		steps := steps(a.name)
		if len(steps) == 0 || len(steps) > maxSteps || !root.add(steps, a.value) {
			return nil, ErrForm
		}
	}
	doc, ok := root.tree().(map[string]any)
	if !ok {
		return Document{}, nil
	}
	for name, v := range doc {
		if f := e.Field(name); f != nil && f.onAPI() {
			doc[name] = s.coerceTop(e, f, doc, v)
		}
	}
	return doc, nil
}

// untyped is a plugin's configuration from a form that does not name the plugin: Build types it.
type untyped map[string]any

func (s *Schema) coerceTop(e *Entity, f *Field, doc Document, v any) any {
	if f.Kind != Config {
		return coerce(f, v)
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return nullIfEmpty(v)
	}
	name, named := doc[e.name.Name].(string)
	if p := s.plugins[name]; p != nil {
		return coerce(p.config, tree)
	}
	if named {
		return tree // Build refuses the name
	}
	return untyped(tree)
}

// steps splits "config.headers[x-a]" into its steps. A name whose brackets do not match is one key.
func steps(name string) []step {
	var path []step
	rest := name
	for rest != "" {
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			return append(path, step{key: rest})
		}
		if end > 0 {
			path = append(path, step{key: rest[:end]})
		}
		if rest[end] == '.' {
			rest = rest[end+1:]
			continue
		}
		inside, after, closed := strings.Cut(rest[end+1:], "]")
		if !closed || len(path) == 0 || after != "" && after[0] != '.' && after[0] != '[' {
			return []step{{key: name}}
		}
		path = append(path, bracket(inside))
		rest = after
	}
	return path
}

func bracket(inside string) step {
	if inside == "" {
		return step{element: true}
	}
	if index, err := strconv.ParseUint(inside, 10, 31); err == nil && index > 0 {
		return step{element: true, index: int(index)}
	}
	return step{key: inside}
}

// node is a tree under construction: a list of values, an array or a record.
type node struct {
	values   []string
	elements map[int]*node
	members  map[string]*node
}

// add puts a value at the end of a path. It refuses a path through something that is a value or of another kind.
func (n *node) add(path []step, value string) bool {
	if len(path) == 0 {
		n.values = append(n.values, value)
		return n.members == nil && n.elements == nil
	}
	next := path[0]
	if !next.element {
		if n.members == nil {
			n.members = map[string]*node{}
		}
		if n.values != nil || n.elements != nil {
			return false
		}
		if n.members[next.key] == nil {
			n.members[next.key] = &node{}
		}
		return n.members[next.key].add(path[1:], value)
	}
	if n.elements == nil {
		n.elements = map[int]*node{}
	}
	index := next.index
	if index == 0 {
		index = n.last() + 1
	}
	if n.elements[index] == nil {
		n.elements[index] = &node{}
	}
	return n.members == nil && n.values == nil && n.elements[index].add(path[1:], value)
}

func (n *node) last() int {
	last := 0
	for index := range n.elements {
		last = max(last, index)
	}
	return last
}

// tree turns the node into a JSON tree of strings. Gaps between indexes close.
func (n *node) tree() any {
	switch {
	case n.members != nil:
		tree := make(map[string]any, len(n.members))
		for key, member := range n.members {
			tree[key] = member.tree()
		}
		return tree
	case n.elements != nil:
		indexes := make([]int, 0, len(n.elements))
		for index := range n.elements {
			indexes = append(indexes, index)
		}
		slices.Sort(indexes)
		items := make([]any, len(indexes))
		for i, index := range indexes {
			items[i] = n.elements[index].tree()
		}
		return items
	case len(n.values) == 1:
		return n.values[0]
	case len(n.values) > 1:
		items := make([]any, len(n.values))
		for i, value := range n.values {
			items[i] = value
		}
		return items
	}
	return nil
}
