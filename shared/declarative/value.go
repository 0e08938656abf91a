package declarative

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is one node of a file, with the line that it begins on.
type value struct {
	line    int
	scalar  any // nil, bool, string, int64, float64 or json.Number
	items   []*value
	members []member
	kind    kind
}

type kind uint8

const (
	scalarKind kind = iota
	listKind
	mapKind
)

type member struct {
	key   string
	line  int
	value *value
}

// get returns the member with this key, or nil.
func (v *value) get(key string) *value {
	for _, m := range v.members {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// plain returns the JSON tree of a value.
func (v *value) plain() any {
	switch v.kind {
	case listKind:
		items := make([]any, len(v.items))
		for i, item := range v.items {
			items[i] = item.plain()
		}
		return items
	case mapKind:
		tree := make(map[string]any, len(v.members))
		for _, m := range v.members {
			tree[m.key] = m.value.plain()
		}
		return tree
	}
	return v.scalar
}

const (
	// maxDepth bounds how deep a file nests; entities need a tenth of it.
	maxDepth = 64
	// maxExpansion bounds how many nodes the aliases of a file may make of it.
	maxExpansion = 200_000
)

// reader turns a text into values and notes what is wrong with it.
type reader struct {
	problems *Problems
	aliased  int                 // nodes that exist only because of aliases
	open     map[*yaml.Node]bool // aliases being expanded
}

// read reads JSON or YAML. A text that begins with "{" is JSON, unless only YAML can read it.
func (r *reader) read(text []byte) *value {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		before := len(r.problems.List)
		v, err := r.readJSON(text)
		if err == nil {
			return v
		}
		if v := r.readYAML(text); v != nil && len(r.problems.List) == before {
			return v
		}
		r.problems.List = r.problems.List[:before]
		r.problems.add(err.line, nil, "cannot parse: "+err.text)
		return nil
	}
	return r.readYAML(text)
}

func (r *reader) readYAML(text []byte) *value {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			r.problems.add(1, nil, "expected a declarative configuration")
			return nil
		}
		line, message := yamlError(err)
		if tab := tabNear(text, line); tab > 0 {
			line, message = tab, message+"; tabs cannot indent YAML"
		}
		r.problems.add(line, nil, "cannot parse: "+message)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.problems.add(max(second.Line, 1), nil, "expected one document, found another after it")
		return nil
	}
	if len(document.Content) == 0 {
		r.problems.add(1, nil, "expected a declarative configuration")
		return nil
	}
	return r.fromYAML(document.Content[0], nil, 0)
}

// tabNear returns which line a tab indents, of the given one and its neighbours: the parser counts one off at times.
// It is 0 when none is.
func tabNear(text []byte, line int) int {
	number := 0
	for one := range bytes.Lines(text) {
		number++
		indent := one[:len(one)-len(bytes.TrimLeft(one, " \t"))]
		if number >= line-1 && number <= line+1 && bytes.ContainsRune(indent, '\t') {
			return number
		}
	}
	return 0
}

// yamlError takes the line out of the parser's message.
func yamlError(err error) (int, string) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(message, "line "); found {
		number, text, _ := strings.Cut(rest, ": ")
		if line, err := strconv.Atoi(number); err == nil {
			return line, text
		}
	}
	return 1, message
}

func (r *reader) fromYAML(n *yaml.Node, path []any, depth int) *value {
	if depth > maxDepth {
		r.problems.add(n.Line, path, "nested too deep")
		return &value{line: n.Line}
	}
	if len(r.open) > 0 {
		if r.aliased++; r.aliased > maxExpansion {
			if r.aliased == maxExpansion+1 {
				r.problems.add(n.Line, path, "the aliases of this file expand to too much")
			}
			return &value{line: n.Line}
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.expand(n, path, depth)
	case yaml.SequenceNode:
		v := &value{line: n.Line, kind: listKind}
		for i, item := range n.Content {
			v.items = append(v.items, r.fromYAML(item, with(path, i), depth+1))
		}
		return v
	case yaml.MappingNode:
		return r.yamlMap(n, path, depth)
	}
	return r.yamlScalar(n, path)
}

func (r *reader) expand(n *yaml.Node, path []any, depth int) *value {
	if r.open[n.Alias] {
		r.problems.add(n.Line, path, "the alias contains itself")
		return &value{line: n.Line}
	}
	if r.open == nil {
		r.open = map[*yaml.Node]bool{}
	}
	r.open[n.Alias] = true
	v := r.fromYAML(n.Alias, path, depth+1)
	delete(r.open, n.Alias)
	return v
}

func (r *reader) yamlMap(n *yaml.Node, path []any, depth int) *value {
	v := &value{line: n.Line, kind: mapKind}
	seen := make(map[string]bool, len(n.Content)/2)
	var merged []*value
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			r.problems.add(key.Line, path, "a key must be a string")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, r.merge(n.Content[i+1], path, depth)...)
			continue
		}
		if seen[key.Value] {
			r.problems.add(key.Line, with(path, key.Value), "the key is there twice")
			continue
		}
		seen[key.Value] = true
		child := r.fromYAML(n.Content[i+1], with(path, key.Value), depth+1)
		v.members = append(v.members, member{key.Value, key.Line, child})
	}
	for _, source := range merged {
		for _, m := range source.members {
			if !seen[m.key] {
				seen[m.key] = true
				v.members = append(v.members, m)
			}
		}
	}
	return v
}

// merge reads what "<<" brings in: a map or a list of maps, of which earlier ones win.
func (r *reader) merge(n *yaml.Node, path []any, depth int) []*value {
	v := r.fromYAML(n, path, depth+1)
	switch {
	case v.kind == mapKind:
		return []*value{v}
	case v.kind == listKind:
		for _, item := range v.items {
			if item.kind != mapKind {
				r.problems.add(n.Line, path, "expected a map to merge")
				return nil
			}
		}
		return v.items
	}
	r.problems.add(n.Line, path, "expected a map to merge")
	return nil
}

func (r *reader) yamlScalar(n *yaml.Node, path []any) *value {
	v := &value{line: n.Line}
	switch n.ShortTag() {
	case "!!null":
		return v
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			v.scalar = b
			return v
		}
	case "!!int", "!!float":
		var decoded any
		if n.Decode(&decoded) == nil {
			v.scalar = number(decoded)
			return v
		}
	case "!!str", "!!timestamp":
		v.scalar = n.Value
		return v
	}
	r.problems.add(n.Line, path, "a value of type "+n.ShortTag()+" is not supported")
	return v
}

// number keeps integers exact.
func number(decoded any) any {
	switch x := decoded.(type) {
	case int:
		return int64(x)
	case int64:
		return x
	case uint64:
		return json.Number(strconv.FormatUint(x, 10))
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Sprint(x) // no number in JSON: the schema refuses it
		}
		return x
	}
	return nil
}
