package schema

import (
	"crypto/rand"
	"maps"
	"math"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// How says what a document means to the row it is written to.
type How uint8

const (
	Insert  How = iota // a new row (POST)
	Update             // a merge over base (PATCH): records merge, sets, arrays and maps replace, null clears
	Replace            // a whole row (PUT): what is omitted returns to its default
)

// Resolver finds rows by a unique field, for foreign keys that are not given by id.
type Resolver interface {
	// Resolve returns the id of the row of table whose field has this value. An err is trouble with the
	// store, not a missing row.
	Resolve(table, field, value string) (id string, found bool, err error)
}

// build is one run of Build.
type build struct {
	schema   *Schema
	entity   *Entity
	how      How
	base     protoreflect.Message // nil for a new row
	plugin   *plugin              // of the row, when it is a plugin's and the plugin is known
	doc      Document             // the input; a copy at its top level
	tree     map[string]any       // the row as the Admin API would show it
	problems problems
	now      time.Time
}

// Build makes a row of a document: resolves foreign keys, fills in what is automatic and what has a default,
// and checks everything. base is the present row: needed for Update, and given to Replace when there is one, so
// that id, created_at, generated keys and the product's own fields stay (in Kong, a PUT without a key generates
// a new one; here the same PUT twice changes nothing). base is not changed.
//
// The error is a *[Violations] when the document is at fault and what the resolver returned when it failed; r
// may be nil when no row can be referred to by name.
func (s *Schema) Build(e *Entity, base proto.Message, doc Document, how How, r Resolver) (proto.Message, error) {
	b := &build{
		schema: s, entity: e, how: how, doc: maps.Clone(doc), problems: problems{}, now: time.Now(),
	}
	if b.doc == nil {
		b.doc = Document{}
	}
	if base != nil {
		b.base = base.ProtoReflect()
	} else if how == Update {
		return nil, fault.Newf(fault.Internal, "schema.Build", e.Table, "an update without a row")
	}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	if unresolved, err := b.resolve(r); err != nil {
		return nil, err
	} else if len(unresolved) > 0 {
		return nil, unresolvedForeign(unresolved)
	}
	b.check()
	if len(b.problems) > 0 {
		return nil, schemaViolation(b.problems)
	}
	m := e.typ.New()
	if err := b.fill(m); err != nil {
		return nil, fault.New(fault.Internal, "schema.Build", e.Table, err)
	}
	return m.Interface(), nil
}

// prepare turns the document into a whole tree: shorthands, merge, automatic fields, defaults.
func (b *build) prepare() error {
	b.findPlugin()
	for _, r := range b.entity.rules {
		if r.prepare != nil {
			r.prepare(b)
		}
	}
	b.tree = maps.Clone(b.doc)
	if b.how == Update {
		current, err := b.schema.tree(b.entity, b.base)
		if err != nil {
			return fault.New(fault.Corrupt, "schema.Build", b.entity.Table, err)
		}
		b.merge(current)
	}
	b.automatic()
	b.defaults(b.entity.record, b.tree)
	for _, r := range b.entity.rules {
		if r.complete != nil {
			r.complete(b)
		}
	}
	return nil
}

// findPlugin finds the plugin that the row configures and gives a configuration from a form, which could not be
// typed without it, its types.
func (b *build) findPlugin() {
	e := b.entity
	if e.config == nil {
		return
	}
	name, given := b.doc[e.name.Name].(string)
	if !given && b.base != nil && b.how == Update {
		name = b.base.Get(e.name.desc).String()
	}
	b.plugin = b.schema.plugins[name]
	if untyped, ok := b.doc[e.config.Name].(untyped); ok {
		b.doc[e.config.Name] = map[string]any(untyped)
		if b.plugin != nil {
			b.doc[e.config.Name] = coerce(b.plugin.config, map[string]any(untyped))
		}
	}
}

// automatic fills in ids, times and generated keys.
func (b *build) automatic() {
	for _, f := range b.entity.Fields {
		v := b.tree[f.Name]
		if f.Auto != schemav1.Auto_AUTO_UPDATED_AT && v != nil {
			continue
		}
		if b.how == Replace && b.base != nil && f.Auto != schemav1.Auto_AUTO_UPDATED_AT && b.base.Has(f.desc) &&
			f.Auto != schemav1.Auto_AUTO_UNSPECIFIED {
			b.tree[f.Name] = fieldTree(f, b.base)
			continue
		}
		switch f.Auto {
		case schemav1.Auto_AUTO_UUID:
			b.tree[f.Name] = uuid.NewString()
		case schemav1.Auto_AUTO_CREATED_AT, schemav1.Auto_AUTO_UPDATED_AT:
			b.tree[f.Name] = b.now.Unix()
			if f.marks.GetFractionalSeconds() {
				b.tree[f.Name] = float64(b.now.UnixMilli()) / 1000
			}
		case schemav1.Auto_AUTO_RANDOM_KEY:
			b.tree[f.Name] = randomKey()
		}
	}
}

const alphanumerics = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomKey returns 32 alphanumerics, each of the 62 equally likely.
func randomKey() string {
	key := make([]byte, 0, 32)
	var random [64]byte
	for {
		rand.Read(random[:]) // never fails: crypto/rand ends the process instead
		for _, c := range random {
			if c >= 248 { // 4*62: the rest would favour the first letters
				continue
			}
			if key = append(key, alphanumerics[c%62]); len(key) == cap(key) {
				return string(key)
			}
		}
	}
}

// defaults gives every field that is absent its default, or null.
func (b *build) defaults(record *Field, tree map[string]any) {
	for _, f := range record.Fields {
		v, found := tree[f.Name]
		switch {
		case f.Kind == Config:
			b.configDefaults(f, tree)
			continue
		case !f.onAPI():
			continue // given all the same, it is an unknown field
		case found:
		case f.Name == protocolsField && b.plugin != nil && record == b.entity.record:
			v = b.plugin.protocols.Default
		case f.Default != nil:
			v = f.Default
		case f.Kind == Record && (f.Required || f.implicit):
			v = map[string]any{}
		}
		if nested, ok := v.(map[string]any); ok && f.Kind == Record {
			nested = maps.Clone(nested)
			b.defaults(f, nested)
			v = nested
		}
		tree[f.Name] = v
	}
}

// protocolsField is the field of a plugin's row whose default and choices are the plugin's.
const protocolsField = "protocols"

func (b *build) configDefaults(f *Field, tree map[string]any) {
	v, found := tree[f.Name]
	if !found {
		v = map[string]any{}
	}
	if config, ok := v.(map[string]any); ok && b.plugin != nil {
		config = maps.Clone(config)
		b.defaults(b.plugin.config, config)
		v = config
	}
	tree[f.Name] = v
}

// fill writes the checked tree into a message and adds what the tree does not show.
func (b *build) fill(m protoreflect.Message) error {
	dec := decoder{}
	for _, f := range b.entity.Fields {
		switch {
		case f.Visibility == Stored:
			if b.base != nil && b.base.Has(f.desc) {
				m.Set(f.desc, b.base.Get(f.desc))
			}
		case !f.onAPI():
		case f.Kind == Config:
			if config, ok := b.tree[f.Name].(map[string]any); ok && b.plugin != nil {
				data, err := b.plugin.encode(config, dec)
				if err != nil {
					return err
				}
				m.Set(f.desc, protoreflect.ValueOfBytes(data))
			}
		default:
			if err := dec.set(m, f, b.tree[f.Name]); err != nil {
				return err
			}
		}
	}
	for _, r := range b.entity.rules {
		if r.finish != nil {
			r.finish(b, m)
		}
	}
	return nil
}

// milliseconds reads the time of a target: seconds with a fraction.
func milliseconds(seconds float64) int64 { return int64(math.Round(seconds * 1000)) }
