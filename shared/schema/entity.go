package schema

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// Entity is one kind of row. Entities are shared and must not be changed.
type Entity struct {
	Table       string
	Path        string             // top-level Admin API collection; "" when there is none
	Nested      string             // collection below a parent; Path unless said otherwise
	EndpointKey string             // field by which a path element that is no UUID is looked up; "" when there is none
	Workspaced  bool               // false: rows live in workspace ""
	Internal    bool               // no Admin API
	Event       bool               // reaches data planes, and stands in no declarative file: it says that something happened
	DataClass   schemav1.DataClass // unspecified: rows never leave the control plane, see Travels
	Rank        int                // parents have lower ranks than their children
	Fields      []*Field
	Unique      []*Unique
	Foreign     []*ForeignKey
	Sealed      []*Field // top-level encrypted fields: columns, not part of the body

	record *Field // the entity as a record: Fields, checks, lookup by name
	typ    protoreflect.MessageType
	id     *Field
	tags   *Field
	name   *Field // the plugin's name, of entities with a Config
	config *Field
	rules  []rule
}

// Unique is a unique column. A row whose value is null has none, except that a set of fields always has one.
type Unique struct {
	Column string
	Fields []*Field
	// Optional fields are the last of Fields: texts and derived ids leave them out where they are null.
	Optional int
	// Global: unique over all workspaces.
	Global bool
	// Fingerprint: the field is encrypted, so the column holds a keyed fingerprint of the value.
	Fingerprint bool
}

// ForeignKey is a column with the id of a row of another table.
type ForeignKey struct {
	Column  string // "<field>_id"
	Field   *Field
	Table   string
	Cascade bool // deleting the parent deletes the row; otherwise it is refused
}

// Travels reports whether rows reach data planes.
func (e *Entity) Travels() bool { return e.DataClass != schemav1.DataClass_DATA_CLASS_UNSPECIFIED }

// Declarable reports whether rows stand in declarative files, and go when a file that replaces all does not name them.
func (e *Entity) Declarable() bool { return e.Travels() && !e.Event }

// New returns an empty message of the entity.
func (e *Entity) New() proto.Message { return e.typ.New().Interface() }

// Field returns a top-level field, or nil.
func (e *Entity) Field(name string) *Field { return e.record.field(name) }

// Key returns the field by which a path names a row: the endpoint key, or below a parent the text that is unique together
// with the foreign key to it. It is nil when only the id names a row. foreign is "" at the top.
func (e *Entity) Key(foreign string) *Field {
	if f := e.Field(e.EndpointKey); f != nil || foreign == "" {
		return f
	}
	for _, u := range e.Unique {
		if len(u.Fields) == 2 && u.Fields[0].Name == foreign && u.Fields[1].Kind == String {
			return u.Fields[1]
		}
	}
	return nil
}

// ID returns the id of a row of this entity.
func (e *Entity) ID(m proto.Message) string { return m.ProtoReflect().Get(e.id.desc).String() }

// Tags returns the tags of a row of this entity, nil when there are none.
func (e *Entity) Tags(m proto.Message) []string {
	if e.tags == nil {
		return nil
	}
	list := m.ProtoReflect().Get(e.tags.desc).Message().Get(e.tags.values).List()
	var tags []string
	for i := range list.Len() {
		tags = append(tags, list.Get(i).String())
	}
	return tags
}
