package scopedkeys

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what the aliases of a file may make of it.
const maxNodes = 20_000

// reader walks a file and notes what is wrong with it.
type reader struct {
	*Problems
	file  string
	nodes int // walked
}

func (r *reader) at(n *yaml.Node, field string) place { return place{r.file, n.Line, field} }

// document returns the one document of a text, nil when there is none.
func (r *reader) document(text []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF) || err == nil && (len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"):
		r.add(place{r.file, 1, ""}, "it is empty; expected defaults, org or envs")
		return nil
	case err != nil:
		line, message := parserSays(err)
		r.add(place{r.file, line, ""}, "%s", message)
		return nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.add(place{r.file, max(second.Line, 1), ""}, "expected one document, found another after it")
	}
	return document.Content[0]
}

// parserSays takes the line out of the parser's message, and nothing that it quotes from the file.
func parserSays(err error) (line int, message string) {
	line, message = 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(message, "line "); found {
		number, text, _ := strings.Cut(rest, ": ")
		if at, err := strconv.Atoi(number); err == nil {
			line, message = at, text
		}
	}
	if strings.ContainsAny(message, "'\"`") {
		return line, "it is no YAML"
	}
	return line, "it is no YAML: " + message
}

// follow resolves an alias. It is nil when the file walks too far.
func (r *reader) follow(n *yaml.Node) *yaml.Node {
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.add(r.at(n, ""), "it says too much")
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// members reads a map whose names are known. Others, and those that are there twice, are problems.
func (r *reader) members(n *yaml.Node, field string, known ...string) map[string]*yaml.Node {
	m := r.follow(n)
	if m == nil {
		return nil
	}
	if m.Kind != yaml.MappingNode {
		r.add(r.at(n, field), "expected %s, each with a value", strings.Join(known, ", "))
		return nil
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := r.follow(m.Content[i])
		switch {
		case key == nil:
			return found
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			r.add(r.at(m.Content[i], field), "unknown field %s; expected %s", shown(key.Value), strings.Join(known, ", "))
		case found[key.Value] != nil:
			r.add(r.at(m.Content[i], join(field, key.Value)), "it is there already, at line %d, and only one of the two would count%s", found[key.Value].Line, twice(key.Value))
		default:
			found[key.Value] = m.Content[i+1]
		}
	}
	return found
}

func twice(name string) string {
	if name == "envs" {
		return ": write all environments in one list"
	}
	return ""
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// shown is the name of a field, unless it may be a key that slipped there.
func shown(name string) string {
	odd := strings.ContainsFunc(name, func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' })
	if name == "" || len(name) > 21 || odd {
		return "(REDACTED)"
	}
	return strconv.Quote(name)
}

// word reads a member that is a name; "" when it is absent or something else, which is a problem.
func (r *reader) word(members map[string]*yaml.Node, field, name string) (text string, line int) {
	n := members[name]
	if n == nil {
		return "", 0
	}
	s := r.follow(n)
	if s == nil {
		return "", n.Line
	}
	if s.Kind != yaml.ScalarNode || s.ShortTag() == "!!null" || s.Value == "" {
		r.add(r.at(n, join(field, name)), "expected a name")
		return "", n.Line
	}
	return s.Value, n.Line
}
