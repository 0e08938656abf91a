package declarative

import (
	"errors"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/schema"
)

// File is a declarative file, checked and flattened.
type File struct {
	FormatVersion string
	// Transform says that values are as people write them. Only where it is false is a text that looks like a
	// password hash one; otherwise it is a password.
	Transform  bool
	Workspace  string // "" when the file does not say
	SelectTags []string
	Entities   []Entity // parents before children
}

// Entity is one row that a file asks for.
type Entity struct {
	Table string
	ID    string
	// Derived: the file gives no id, ID was made of the entity's key. It gives way to the id of a row that is
	// there already and has one of the same unique values.
	Derived bool
	// Document is complete for schema.Build with schema.Replace: foreign keys are ids, the id is in it.
	Document schema.Document
	Line     int
	Path     string // "services[0].routes[1]"
}

// Parse reads a file. name is for messages only. The error is *[Problems].
func Parse(s *schema.Schema, name string, text []byte) (*File, error) {
	p := &parser{
		schema: s, problems: &Problems{File: name}, file: &File{Transform: true},
		entries: map[string][]*entry{}, index: map[string]map[string]*entry{},
	}
	if root := (&reader{problems: p.problems}).read(text); root != nil {
		p.top(root)
	}
	for _, e := range s.Entities() {
		for _, entry := range p.entries[e.Table] {
			p.settle(e, entry)
		}
	}
	if len(p.problems.List) > 0 {
		p.problems.sort()
		return nil, p.problems
	}
	return p.file, nil
}

type parser struct {
	schema   *schema.Schema
	problems *Problems
	file     *File
	entries  map[string][]*entry          // by table, in the order of the file
	index    map[string]map[string]*entry // by table and "column=value"; made as entries settle
	configs  map[string]map[string]any    // _plugin_configs
	defaults map[string]map[string]any    // _info.defaults, by table
	seen     map[string]int               // how often a content key was given
}

// entry is one entity of the file on its way.
type entry struct {
	node   *value
	path   []any
	parent *entry // above it in the file, nil at the top
	child  *schema.ForeignKey
	doc    schema.Document
	id     string
	broken bool           // reported already; what refers to it is not reported again
	said   map[string]any // foreign keys to what no file holds, as the file says them
}

// settle gives an entry its foreign keys and its id and checks it. Its parents have settled before it.
func (p *parser) settle(e *schema.Entity, entry *entry) {
	ok := p.refer(e, entry)
	var message proto.Message
	if entry.doc != nil {
		var err error
		message, err = p.schema.Build(e, nil, entry.doc, schema.Insert, nil)
		if err != nil {
			p.violations(entry, err)
			ok = false
		}
	}
	entry.broken = !ok
	derived := entry.doc["id"] == nil
	switch {
	case !ok:
	case derived:
		entry.id = p.identify(e, entry, message)
	default:
		entry.id = e.ID(message)
	}
	if ok && derived && e.Table == memberTable && p.index[e.Table][slot("id", entry.id)] != nil {
		return // said below the consumer and below the group: the same thing
	}
	p.register(e, entry, message)
	if !ok {
		return
	}
	entry.doc["id"] = entry.id
	maps.Copy(entry.doc, entry.said)
	p.file.Entities = append(p.file.Entities, Entity{
		Table: e.Table, ID: entry.id, Derived: derived, Document: entry.doc, Line: entry.node.line,
		Path: Problem{Path: entry.path}.Field(),
	})
}

// violations reports what Build refused, at the lines of the fields.
func (p *parser) violations(entry *entry, err error) {
	v, ok := errors.AsType[*schema.Violations](err)
	if !ok {
		p.whole(entry, err.Error())
		return
	}
	p.spread(entry.node, entry.path, v.Fields())
}

// spread walks Kong's tree of problems beside the file.
func (p *parser) spread(node *value, path []any, tree any) {
	switch tree := tree.(type) {
	case string:
		p.problems.add(node.line, path, tree)
	case []any:
		for i, item := range tree {
			if item == nil {
				continue
			}
			next := node
			if i < len(node.items) {
				next = node.items[i]
			}
			p.spread(next, with(path, i), item)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(tree)) {
			if key == "@entity" {
				p.spreadWhole(node, path, tree[key])
				continue
			}
			next := node
			for _, m := range node.members {
				if m.key == key {
					next = m.value
					if next.kind == scalarKind {
						next = &value{line: m.line}
					}
				}
			}
			p.spread(next, with(path, key), tree[key])
		}
	}
}

func (p *parser) spreadWhole(node *value, path []any, list any) {
	messages, _ := list.([]any)
	for _, message := range messages {
		text, _ := message.(string)
		p.problems.List = append(p.problems.List,
			Problem{Line: node.line, Path: slices.Clone(path), Message: text, whole: true})
	}
}

// whole reports what is wrong with a whole entity.
func (p *parser) whole(entry *entry, message string) {
	p.spreadWhole(entry.node, entry.path, []any{message})
}
