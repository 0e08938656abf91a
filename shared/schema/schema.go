package schema

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// Plugin is what the schema must know of a plugin; shared/plugins lists all of them.
type Plugin struct {
	Name       string
	Version    string
	Priority   int
	Protocols  []string // default and allowed values of the plugin's protocols
	NoConsumer bool     // may not be scoped to a consumer or a consumer group
	Config     protoreflect.MessageType
}

// Schema knows every entity message of keepgate.config.v1 and the given plugins. It is immutable and safe for
// concurrent use.
type Schema struct {
	entities []*Entity
	tables   map[string]*Entity
	messages map[protoreflect.FullName]*Entity
	plugins  map[string]*plugin
	names    []string // of the plugins, sorted
}

// plugin is a Plugin with its compiled configuration.
type plugin struct {
	Plugin
	config    *Field
	rules     []rule
	protocols *Field // the entity's protocols field with this plugin's default and choices
}

// New compiles the schema. It panics when the protos contradict themselves: they are part of the program, and
// a program with a broken schema must not start.
func New(plugins []Plugin) *Schema {
	s := &Schema{
		tables: map[string]*Entity{}, messages: map[protoreflect.FullName]*Entity{}, plugins: map[string]*plugin{},
	}
	protoregistry.GlobalTypes.RangeMessages(func(t protoreflect.MessageType) bool {
		d := t.Descriptor()
		marks := optionOf[*schemav1.Entity](d, schemav1.E_Entity)
		if marks == nil || d.ParentFile().Package() != configv1.File_keepgate_config_v1_values_proto.Package() {
			return true
		}
		e, err := compileEntity(t, marks)
		if err != nil {
			panic(fmt.Sprintf("schema of %s: %v", marks.GetTable(), err))
		}
		s.entities = append(s.entities, e)
		s.tables[e.Table], s.messages[d.FullName()] = e, e
		return true
	})
	s.rank()
	for _, p := range plugins {
		if err := s.addPlugin(p); err != nil {
			panic(fmt.Sprintf("schema of plugin %s: %v", p.Name, err))
		}
	}
	slices.Sort(s.names)
	return s
}

func compileEntity(t protoreflect.MessageType, marks *schemav1.Entity) (*Entity, error) {
	e := &Entity{
		Table: marks.GetTable(), Path: marks.GetPath(), Nested: marks.GetNested(), EndpointKey: marks.GetEndpointKey(),
		Workspaced: !marks.GetGlobal(), Internal: marks.GetInternal(), Event: marks.GetEvent(), DataClass: marks.GetDataClass(),
		record: &Field{Kind: Record, marks: &schemav1.Field{}}, typ: t,
	}
	if e.Nested == "" {
		e.Nested = e.Path
	}
	if err := compileRecord(e.record, t.Descriptor(), false); err != nil {
		return nil, err
	}
	e.Fields = e.record.Fields
	if e.id = e.Field("id"); e.id == nil {
		return nil, fmt.Errorf("no id")
	}
	e.tags = e.Field("tags")
	for _, f := range e.Fields {
		e.addColumns(f)
	}
	for _, key := range marks.GetUniqueKey() {
		names := append(slices.Clone(key.GetFields()), key.GetOptionalFields()...)
		fields := make([]*Field, len(names))
		for i, name := range names {
			if fields[i] = e.Field(name); fields[i] == nil || fields[i].Encrypted {
				return nil, fmt.Errorf("unique key over %q", name)
			}
		}
		e.Unique = append(e.Unique, &Unique{Column: columnName(fields), Fields: fields, Optional: len(key.GetOptionalFields()), Global: !e.Workspaced})
	}
	var err error
	e.rules, err = rulesOf(e.record.checks)
	return e, err
}

// addColumns notes what a top-level field means to the store.
func (e *Entity) addColumns(f *Field) {
	if f.Kind == Config {
		e.config, e.name = f, e.Field("name")
		f.secrets = true
	}
	if f.sealedColumn() {
		e.Sealed = append(e.Sealed, f)
	}
	if f.Unique {
		u := &Unique{Column: f.Name, Fields: []*Field{f}, Fingerprint: f.Encrypted}
		u.Global = !e.Workspaced || f.marks.GetAcrossWorkspaces()
		if u.Fingerprint {
			u.Column = f.Name + "_fingerprint"
		}
		e.Unique = append(e.Unique, u)
	}
	if f.Kind == Foreign {
		cascade := f.marks.GetForeign().GetOnDelete() == schemav1.OnDelete_ON_DELETE_CASCADE
		e.Foreign = append(e.Foreign, &ForeignKey{Column: f.Name + "_id", Field: f, Table: f.Reference, Cascade: cascade})
	}
}

// rank puts parents before their children, and entities of one rank in the order of their tables.
func (s *Schema) rank() {
	for range s.entities { // a chain of parents is never longer than the list
		for _, e := range s.entities {
			for _, f := range e.Foreign {
				if parent := s.tables[f.Table]; parent == nil {
					panic(fmt.Sprintf("schema of %s: no table %s", e.Table, f.Table))
				} else if parent.Rank >= e.Rank {
					e.Rank = parent.Rank + 1
				}
			}
		}
	}
	slices.SortFunc(s.entities, func(a, b *Entity) int {
		if a.Rank != b.Rank {
			return a.Rank - b.Rank
		}
		return strings.Compare(a.Table, b.Table)
	})
}

// Entities lists all entities, parents before children.
func (s *Schema) Entities() []*Entity { return s.entities }

// Entity finds an entity by its table.
func (s *Schema) Entity(table string) (*Entity, bool) {
	e, found := s.tables[table]
	return e, found
}

// EntityOf finds the entity of a message, nil when it is none.
func (s *Schema) EntityOf(m proto.Message) *Entity {
	return s.messages[m.ProtoReflect().Descriptor().FullName()]
}

// Plugins lists the names of the known plugins, sorted.
func (s *Schema) Plugins() []string { return s.names }

// Plugin finds a plugin by its name.
func (s *Schema) Plugin(name string) (Plugin, bool) {
	p, found := s.plugins[name]
	if !found {
		return Plugin{}, false
	}
	return p.Plugin, true
}

// PluginFields lists the fields of a plugin's configuration, nil when the plugin is not known.
func (s *Schema) PluginFields(name string) []*Field {
	if p := s.plugins[name]; p != nil {
		return p.config.Fields
	}
	return nil
}

func (s *Schema) addPlugin(p Plugin) error {
	entity := s.tables["plugins"]
	if entity == nil || s.plugins[p.Name] != nil {
		return fmt.Errorf("twice, or no plugins table")
	}
	c := &plugin{Plugin: p, config: &Field{
		Name: entity.config.Name, Path: entity.config.Path, Kind: Record, Required: true, desc: entity.config.desc,
		marks: &schemav1.Field{},
	}}
	if err := compileRecord(c.config, p.Config.Descriptor(), true); err != nil {
		return err
	}
	var err error
	if c.rules, err = rulesOf(c.config.checks); err != nil {
		return err
	}
	c.protocols = protocolsOf(entity.Field("protocols"), p.Protocols)
	s.plugins[p.Name] = c
	s.names = append(s.names, p.Name)
	return nil
}

// protocolsOf narrows the field to the protocols a plugin knows.
func protocolsOf(general *Field, protocols []string) *Field {
	f, elem := *general, *general.Elem
	elem.marks = proto.CloneOf(elem.marks)
	elem.marks.OneOf = protocols
	choices := make([]any, len(protocols))
	for i, name := range protocols {
		choices[i] = name
	}
	f.Elem, f.Default = &elem, choices
	return &f
}
