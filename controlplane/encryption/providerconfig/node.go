package providerconfig

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
	problems *Problems
	options  Options
	nodes    int // walked
}

// document returns the one document of a text, nil when there is none.
func (r *reader) document(text []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	switch {
	case errors.Is(err, io.EOF) || err == nil && (len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"):
		r.problems.add(1, "", "it is empty; expected kind: EncryptionConfiguration")
		return nil
	case err != nil:
		line, message := parserSays(text, err)
		r.problems.add(line, "", "%s", message)
		return nil
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		r.problems.add(max(second.Line, 1), "", "expected one document, found another after it")
	}
	return document.Content[0]
}

// parserSays takes the line out of the parser's message, and nothing that it quotes from the file.
func parserSays(text []byte, err error) (line int, message string) {
	line, message = 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, found := strings.CutPrefix(message, "line "); found {
		number, text, _ := strings.Cut(rest, ": ")
		if at, err := strconv.Atoi(number); err == nil {
			line, message = at, text
		}
	}
	if strings.HasPrefix(message, "did not find expected ") { // what follows is the grammar's, and the line that of what surrounds it
		return max(line, failsAt(text, err)), "it is neither YAML nor JSON: " + message
	}
	if strings.ContainsAny(message, "'\"`") {
		return line, "it is neither YAML nor JSON"
	}
	return line, "it is neither YAML nor JSON: " + message
}

// failsAt is the line at which the parser gave up: that up to which it read, or the one before when it fails as well
// without the last, at which it only looked ahead.
func failsAt(text []byte, failure error) int {
	lines := &byLine{text: text}
	_ = yaml.NewDecoder(lines).Decode(&yaml.Node{}) // fails as it did
	line := lines.given
	before := &byLine{text: text, most: line - 1}
	if err := yaml.NewDecoder(before).Decode(&yaml.Node{}); line > 1 && err != nil && err.Error() == failure.Error() {
		return line - 1
	}
	return line
}

// byLine reads a text line by line, and counts them.
type byLine struct {
	text        []byte
	given, most int // most: how many at most; 0: all
}

func (b *byLine) Read(p []byte) (n int, err error) {
	if len(b.text) == 0 || b.most > 0 && b.given >= b.most {
		return 0, io.EOF
	}
	end := bytes.IndexByte(b.text, '\n') + 1
	if end == 0 {
		end = len(b.text)
	}
	n = copy(p, b.text[:end])
	if n == end {
		b.given++
	}
	b.text = b.text[n:]
	return n, nil
}

// follow resolves an alias. It is nil when the file walks too far.
func (r *reader) follow(n *yaml.Node) *yaml.Node {
	if r.nodes++; r.nodes > maxNodes {
		if r.nodes == maxNodes+1 {
			r.problems.add(n.Line, "", "it says too much")
		}
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// fields are the members of a map whose names are known.
type fields struct {
	line    int
	field   string // of the map itself
	members map[string]*yaml.Node
}

// has reports whether the file gives a member.
func (f fields) has(name string) bool { return f.members[name] != nil }

// at is the line of a member, or of the map that lacks it.
func (f fields) at(name string) int {
	if n := f.members[name]; n != nil {
		return n.Line
	}
	return f.line
}

func (f fields) path(name string) string { return join(f.field, name) }

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// fields reads a map. Members that are not known, or twice, are problems.
func (r *reader) fields(n *yaml.Node, field string, known ...string) (f fields, ok bool) {
	f = fields{line: n.Line, field: field, members: map[string]*yaml.Node{}}
	m := r.follow(n)
	if m == nil {
		return f, false
	}
	if m.Kind != yaml.MappingNode {
		r.problems.add(n.Line, field, "expected a map%s", of(known))
		return f, false
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := r.follow(m.Content[i])
		switch {
		case key == nil:
			return f, false
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			r.problems.add(m.Content[i].Line, field, "unknown field %s%s", shown(key.Value), expected(known))
		case f.has(key.Value):
			r.problems.add(m.Content[i].Line, join(field, key.Value), "it is there twice")
		default:
			f.members[key.Value] = m.Content[i+1]
		}
	}
	return f, true
}

func of(known []string) string {
	if len(known) == 0 {
		return ": {}"
	}
	return " of " + strings.Join(known, ", ")
}

func expected(known []string) string {
	if len(known) == 0 {
		return "; expected nothing: {}"
	}
	return "; expected " + strings.Join(known, ", ")
}

// shown is the name of a field, unless it may be something else that slipped there.
func shown(name string) string {
	odd := strings.ContainsFunc(name, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') })
	if name == "" || len(name) > 16 || odd {
		return "(REDACTED)"
	}
	return strconv.Quote(name)
}

// list reads a list of at least one element.
func (r *reader) list(f fields, name, each string) []*yaml.Node {
	n := f.members[name]
	if n == nil {
		r.problems.add(f.line, f.path(name), "at least one %s is required", each)
		return nil
	}
	l := r.follow(n)
	switch {
	case l == nil:
		return nil
	case l.Kind != yaml.SequenceNode:
		r.problems.add(n.Line, f.path(name), "expected a list of %ss", each)
		return nil
	case len(l.Content) == 0:
		r.problems.add(n.Line, f.path(name), "at least one %s is required", each)
	}
	return l.Content
}

// text reads a member that is a string; "" when it is absent or something else, which is a problem.
func (r *reader) text(f fields, name string) (text string, ok bool) {
	n := f.members[name]
	if n == nil {
		return "", true
	}
	return r.string(n, f.path(name))
}

func (r *reader) string(n *yaml.Node, field string) (text string, ok bool) {
	s := r.follow(n)
	if s == nil {
		return "", false
	}
	if s.Kind != yaml.ScalarNode || s.ShortTag() != "!!str" {
		r.problems.add(n.Line, field, "expected a string")
		return "", false
	}
	return s.Value, true
}
