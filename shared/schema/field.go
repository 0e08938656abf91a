package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// Kind is the type of a field, as Kong names types.
type Kind uint8

const (
	String Kind = iota
	Integer
	Number
	Boolean
	Set
	Array
	Map
	Record
	Foreign // a reference to a row of another table, by id
	Config  // the configuration of the plugin that the entity names
)

var kindNames = [...]string{
	String: "string", Integer: "integer", Number: "number", Boolean: "boolean", Set: "set", Array: "array",
	Map: "map", Record: "record", Foreign: "foreign", Config: "record",
}

// String returns Kong's name of the kind.
func (k Kind) String() string { return kindNames[k] }

// Visibility says who sees a field; see the package doc.
type Visibility = schemav1.Visibility

const (
	Shown     = schemav1.Visibility_VISIBILITY_UNSPECIFIED
	Stored    = schemav1.Visibility_VISIBILITY_STORED
	Wire      = schemav1.Visibility_VISIBILITY_WIRE
	Transient = schemav1.Visibility_VISIBILITY_TRANSIENT
)

// Field is one field of an entity, of a record or of a plugin's configuration, or the element of a
// collection. Fields are shared and must not be changed.
type Field struct {
	Name string
	// Path is the schema path from the entity, without indexes: "config.http_endpoint". The elements of a
	// collection have the path of the collection.
	Path          string
	Kind          Kind
	Visibility    Visibility
	Required      bool
	Encrypted     bool // sealed wherever it rests; on a collection its elements say so too
	Referenceable bool // may hold {vault://…}
	Unique        bool
	Immutable     bool
	Computed      bool
	Auto          schemav1.Auto
	OneWay        schemav1.OneWay
	Default       any    // a JSON tree; nil when there is none
	Reference     string // table of a Foreign
	Fields        []*Field
	Elem          *Field // element of a Set or Array, value of a Map
	Key           *Field // key of a Map, nil when any key will do

	marks      *schemav1.Field
	desc       protoreflect.FieldDescriptor // the field in its message; nil for elements
	values     protoreflect.FieldDescriptor // of a collection: the wrapper's only field
	byName     map[string]*Field            // of a Record
	checks     []*schemav1.Check            // of a Record
	secrets    bool                         // the field or something below it is encrypted
	references bool                         // or takes references
	between    string                       // text of the range, precomputed for messages
	pattern    pattern
	implicit   bool // a record that is filled in although it is not required (plugin configurations)
}

// field finds a member of a record.
func (f *Field) field(name string) *Field { return f.byName[name] }

// onAPI says whether the Admin API accepts the field.
func (f *Field) onAPI() bool { return f.Visibility == Shown || f.Visibility == Transient }

// inBody says whether the field is part of the storage body.
func (f *Field) inBody(top bool) bool {
	return (f.Visibility == Shown || f.Visibility == Stored) && (!top || !f.sealedColumn())
}

// sealedColumn says whether a top-level field is a column of its own.
func (f *Field) sealedColumn() bool { return f.Encrypted && f.Kind == String && f.Visibility != Wire }

// staysHome says whether a data plane never receives the field.
func (f *Field) staysHome() bool {
	return f.Visibility == Transient || f.Visibility == Stored && f.Encrypted ||
		f.OneWay == schemav1.OneWay_ONE_WAY_FINGERPRINT
}

const (
	autoCreated = schemav1.Auto_AUTO_CREATED_AT
	autoUpdated = schemav1.Auto_AUTO_UPDATED_AT
)
