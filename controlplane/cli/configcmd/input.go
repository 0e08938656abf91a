package configcmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// input is what is sent, and where its parts come from.
type input struct {
	text    []byte
	files   []string
	origins map[string][]origin // by top-level key, of several files; nil for one
}

// origin is where an entity of a merged list, or a top-level value, stands.
type origin struct {
	file string
	node *yaml.Node
}

// maxNodes bounds what aliases may make of several files.
const maxNodes = 5_000_000

// read reads files; several become one, list by list.
func read(stdin io.Reader, files []string) (*input, error) {
	in := &input{files: slices.Clone(files)}
	texts := make([][]byte, len(files))
	for i, file := range files {
		var err error
		if file == "-" {
			in.files[i] = "(standard input)"
			texts[i], err = io.ReadAll(stdin)
		} else {
			texts[i], err = os.ReadFile(file)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 1 {
		in.text = texts[0]
		return in, nil
	}
	return in, in.merge(texts)
}

// merge joins lists; options that stand in several files must be the same in all.
func (in *input) merge(texts [][]byte) error {
	in.origins = map[string][]origin{}
	root := &yaml.Node{Kind: yaml.MappingNode}
	values := map[string]*yaml.Node{}
	left := maxNodes
	for i, text := range texts {
		var document yaml.Node
		if err := yaml.Unmarshal(text, &document); err != nil {
			return fmt.Errorf("%s: %w", in.files[i], err)
		}
		if len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
			return fmt.Errorf("%s: expected a declarative configuration", in.files[i])
		}
		content := document.Content[0].Content
		for k := 0; k+1 < len(content); k += 2 {
			key := content[k].Value
			value, err := expand(content[k+1], 0, &left)
			if err != nil {
				return fmt.Errorf("%s:%d: %s: %w", in.files[i], content[k].Line, key, err)
			}
			before := values[key]
			switch {
			case before == nil:
				values[key] = value
				root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
			case before.Kind == yaml.SequenceNode && value.Kind == yaml.SequenceNode:
				before.Content = append(before.Content, value.Content...)
			case !same(before, value):
				return fmt.Errorf("%s:%d: %s is not the same as in %s", in.files[i], content[k].Line, key, in.origins[key][0].file)
			}
			in.remember(key, in.files[i], value)
		}
	}
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(root); err != nil {
		return fmt.Errorf("joining the files: %w", err)
	}
	in.text = b.Bytes()
	return nil
}

func (in *input) remember(key, file string, value *yaml.Node) {
	if value.Kind != yaml.SequenceNode {
		in.origins[key] = append(in.origins[key], origin{file, value})
		return
	}
	for _, item := range value.Content {
		in.origins[key] = append(in.origins[key], origin{file, item})
	}
}

// expand copies a node without anchors and aliases, which mean something in their own file alone.
func expand(n *yaml.Node, depth int, left *int) (*yaml.Node, error) {
	if *left--; *left < 0 || depth > 100 {
		return nil, errors.New("the aliases of this file expand to too much")
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, depth+1, left)
	}
	c := *n
	c.Anchor, c.Content = "", make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		var err error
		if c.Content[i], err = expand(item, depth+1, left); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func same(a, b *yaml.Node) bool {
	var x, y any
	return a.Decode(&x) == nil && b.Decode(&y) == nil && reflect.DeepEqual(x, y)
}

// locate finds the file and line of a field of what was sent.
func (in *input) locate(line int, field string) (string, int) {
	if in.origins == nil {
		return in.files[0], line
	}
	steps := steps(field)
	if len(steps) == 0 {
		return strings.Join(in.files, ", "), 0
	}
	origins := in.origins[steps[0]]
	index, rest := 0, steps[1:]
	if len(rest) > 0 {
		if n, err := strconv.Atoi(rest[0]); err == nil && n < len(origins) {
			index, rest = n, rest[1:]
		}
	}
	if index >= len(origins) {
		return strings.Join(in.files, ", "), 0
	}
	at := origins[index]
	node, line := at.node, at.node.Line
	for _, step := range rest {
		if node, line = below(node, step, line); node == nil {
			break
		}
	}
	return at.file, line
}

// below takes one step into a node; nil when it is not there.
func below(node *yaml.Node, step string, line int) (*yaml.Node, int) {
	if n, err := strconv.Atoi(step); err == nil && node.Kind == yaml.SequenceNode {
		if n >= len(node.Content) {
			return nil, line
		}
		return node.Content[n], node.Content[n].Line
	}
	for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i].Value == step {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	return nil, line
}

// steps takes "services[0].host" apart.
func steps(field string) (list []string) {
	return strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
