package declarative

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/schema"
)

// Options says how Dump writes. The zero value writes flat lists, as `kong config db_export` does.
type Options struct {
	Nested     bool // children below the one parent they belong to
	Workspace  string
	SelectTags []string
	// Names are the names of what stands in no file and is referred to, by "table/id"; what has none here is named by its id.
	Names map[string]string
}

// Dump writes rows as a file that Parse reads back: format 3.0, `_transform: false` (password hashes are
// written as they are), ids included, nulls left out where null is what an omitted field means. The order
// depends on the rows alone. It writes secrets in clear: who may see them is the caller's to decide.
func Dump(w io.Writer, s *schema.Schema, rows []proto.Message, options Options) error {
	d := dumper{schema: s, names: options.Names, below: map[string][]*item{}, byID: map[string]*item{}}
	top := map[string][]*item{}
	var members []schema.Document
	for _, m := range rows {
		e := s.EntityOf(m)
		if e == nil {
			return fmt.Errorf("dumping: %s is no entity", m.ProtoReflect().Descriptor().Name())
		}
		doc, err := s.Document(e, m)
		if err != nil {
			return fmt.Errorf("dumping %s/%s: %w", e.Table, e.ID(m), err)
		}
		if e.Table == memberTable && options.Nested {
			members = append(members, doc)
			continue
		}
		delete(doc, "updated_at")
		it := &item{entity: e, doc: doc, id: e.ID(m)}
		if key := nestsUnder(s, e, doc); options.Nested && key != nil {
			it.under = key.Field.Name
			parent := key.Table + "/" + idIn(doc[it.under])
			d.below[parent] = append(d.below[parent], it)
			continue
		}
		top[e.Table] = append(top[e.Table], it)
		d.byID[e.Table+"/"+it.id] = it
	}
	d.join(members)
	root := &yaml.Node{Kind: yaml.MappingNode}
	put(root, "_format_version", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "3.0", Style: yaml.SingleQuotedStyle})
	put(root, "_transform", scalar(false))
	if options.Workspace != "" {
		put(root, "_workspace", scalar(options.Workspace))
	}
	if len(options.SelectTags) > 0 {
		info := &yaml.Node{Kind: yaml.MappingNode}
		put(info, "select_tags", plainNode(texts(options.SelectTags)))
		put(root, "_info", info)
	}
	for _, e := range s.Entities() {
		if items := top[e.Table]; len(items) > 0 {
			put(root, e.Table, d.list(items))
		}
	}
	return d.write(w, root)
}

type dumper struct {
	schema *schema.Schema
	names  map[string]string
	below  map[string][]*item // by "table/id" of the parent
	byID   map[string]*item   // those at the top, by "table/id"
	placed int
}

type item struct {
	entity *schema.Entity
	doc    schema.Document
	id     string
	under  string // the foreign key that nesting says
	groups []string
}

func (d *dumper) write(w io.Writer, root *yaml.Node) error {
	nested := 0
	for _, items := range d.below {
		nested += len(items)
	}
	if nested != d.placed {
		return fmt.Errorf("dumping: %d entities belong to parents that are not among the rows", nested-d.placed)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("dumping: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return fmt.Errorf("dumping: %w", err)
	}
	return nil
}

// join notes the groups of consumers. A member of which one end is not among the rows is left out with it.
func (d *dumper) join(members []schema.Document) {
	for _, m := range members {
		consumer := d.byID["consumers/"+idIn(m["consumer"])]
		group := d.byID["consumer_groups/"+idIn(m["consumer_group"])]
		if consumer == nil || group == nil {
			continue
		}
		name, _ := group.doc["name"].(string)
		consumer.groups = append(consumer.groups, name)
	}
}

// nestsUnder finds the parent below which a row is written: the only one whose end is its own, or else the only one it
// has. A certificate is something that a service or an upstream uses, not what it belongs to.
func nestsUnder(s *schema.Schema, e *schema.Entity, doc schema.Document) *schema.ForeignKey {
	var owners, others []*schema.ForeignKey
	for _, key := range e.Foreign {
		switch {
		case doc[key.Field.Name] == nil, standsNowhere(s, key):
		case key.Cascade:
			owners = append(owners, key)
		case key.Field.Name != "client_certificate":
			others = append(others, key)
		}
	}
	switch {
	case len(owners) == 1:
		return owners[0]
	case len(owners) == 0 && len(others) == 1:
		return others[0]
	}
	return nil
}

func (d *dumper) list(items []*item) *yaml.Node {
	slices.SortFunc(items, func(a, b *item) int {
		nameA, _ := a.doc[a.entity.EndpointKey].(string)
		nameB, _ := b.doc[b.entity.EndpointKey].(string)
		if f := a.entity.Field(a.entity.EndpointKey); f != nil && f.Encrypted {
			nameA, nameB = "", ""
		}
		if order := strings.Compare(nameA, nameB); order != 0 {
			return order
		}
		return strings.Compare(a.id, b.id)
	})
	node := &yaml.Node{Kind: yaml.SequenceNode}
	for _, it := range items {
		node.Content = append(node.Content, d.entity(it))
	}
	return node
}

func (d *dumper) entity(it *item) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range it.entity.Fields {
		v, found := it.doc[f.Name]
		switch {
		case !found || f.Name == it.under:
		case f.Kind == schema.Foreign && v != nil:
			put(node, f.Name, scalar(cmp.Or(d.names[f.Reference+"/"+idIn(v)], idIn(v))))
		case f.Kind == schema.Config:
			name, _ := it.doc["name"].(string)
			put(node, f.Name, d.config(name, v))
		default:
			putField(node, f, v)
		}
	}
	if len(it.groups) > 0 {
		groups := &yaml.Node{Kind: yaml.SequenceNode}
		for _, name := range slices.Sorted(slices.Values(it.groups)) {
			one := &yaml.Node{Kind: yaml.MappingNode}
			put(one, "name", scalar(name))
			groups.Content = append(groups.Content, one)
		}
		put(node, "groups", groups)
	}
	for _, child := range d.schema.Entities() {
		var items []*item
		for _, below := range d.below[it.entity.Table+"/"+it.id] {
			if below.entity == child {
				items = append(items, below)
			}
		}
		if len(items) > 0 {
			d.placed += len(items)
			put(node, listName(child.Table), d.list(items))
		}
	}
	return node
}

// standsNowhere reports whether a foreign key leads to what stands in no file.
func standsNowhere(s *schema.Schema, key *schema.ForeignKey) bool {
	parent, known := s.Entity(key.Table)
	return known && !parent.Travels()
}

func (d *dumper) config(plugin string, v any) *yaml.Node {
	tree, ok := v.(map[string]any)
	fields := d.schema.PluginFields(plugin)
	if !ok || fields == nil {
		return plainNode(v)
	}
	return record(fields, tree)
}

func record(fields []*schema.Field, tree map[string]any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		putField(node, f, tree[f.Name])
	}
	return node
}

// putField writes a field unless null is what its absence means.
func putField(node *yaml.Node, f *schema.Field, v any) {
	switch tree, isMap := v.(map[string]any); {
	case v == nil && f.Default == nil && f.Kind != schema.Record:
	case isMap && f.Kind == schema.Record:
		put(node, f.Name, record(f.Fields, tree))
	default:
		put(node, f.Name, plainNode(v))
	}
}

func put(node *yaml.Node, key string, v *yaml.Node) {
	node.Content = append(node.Content, scalar(key), v)
}

func plainNode(v any) *yaml.Node {
	switch v := v.(type) {
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			node.Content = append(node.Content, plainNode(item))
		}
		return node
	case map[string]any:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			put(node, key, plainNode(v[key]))
		}
		return node
	}
	return scalar(v)
}

func texts(list []string) []any {
	items := make([]any, len(list))
	for i, s := range list {
		items[i] = s
	}
	return items
}
