package schema

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rawConfig marks, in a storage body, configuration bytes that this build can neither read nor name.
const rawConfig = "@proto"

// encoder writes messages as JSON. The Admin API's form shows every field, storage leaves out what decoding
// restores by itself.
type encoder struct {
	schema *Schema
	stored bool
	now    int64
}

// Encode writes a row as the Admin API shows it: every field, null where unset.
func (s *Schema) Encode(e *Entity, m proto.Message) []byte {
	return s.AppendEncode(make([]byte, 0, 1024), e, m)
}

// AppendEncode is Encode that appends to b.
func (s *Schema) AppendEncode(b []byte, e *Entity, m proto.Message) []byte {
	enc := encoder{schema: s, now: time.Now().Unix()}
	return enc.entity(b, e, m.ProtoReflect())
}

// EncodeStored writes the storage body of a row: what is shown and what is the product's own, without the
// fields that are columns (Entity.Sealed). DecodeStored(EncodeStored(m)) is m without those columns. A field
// without a default is left out when it is null; one with a default is then written as null, so that a field
// that joins an entity later takes its default in old rows.
func (s *Schema) EncodeStored(e *Entity, m proto.Message) []byte {
	enc := encoder{schema: s, stored: true}
	return enc.entity(make([]byte, 0, 512), e, m.ProtoReflect())
}

func (c *encoder) entity(b []byte, e *Entity, m protoreflect.Message) []byte {
	b = append(b, '{')
	first := true
	for _, f := range e.Fields {
		set := m.Has(f.desc)
		switch {
		case c.stored && (!f.inBody(true) || !set && f.Default == nil):
			continue
		case !c.stored && (!f.onAPI() || f.Visibility == Transient && !set && !c.timeLeft(e, f, m)):
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, f.Name)
		b = append(b, ':')
		switch {
		case f.Kind == Config && set:
			b = c.config(b, m.Get(e.name.desc).String(), m.Get(f.desc).Bytes())
		case !c.stored && f.Visibility == Transient && !set:
			b = strconv.AppendInt(b, max(0, m.Get(e.Field(expiresAt).desc).Int()-c.now), 10)
		default:
			b = c.member(b, f, m)
		}
	}
	return append(b, '}')
}

// timeLeft says whether f is the time to live of a row that ends.
func (c *encoder) timeLeft(e *Entity, f *Field, m protoreflect.Message) bool {
	if f.Name != ttl {
		return false
	}
	end := e.Field(expiresAt)
	return end != nil && m.Has(end.desc)
}

// member writes one field of a message.
func (c *encoder) member(b []byte, f *Field, m protoreflect.Message) []byte {
	if !m.Has(f.desc) {
		return append(b, "null"...)
	}
	if f.marks.GetFractionalSeconds() && !c.stored {
		return appendNumber(b, float64(m.Get(f.desc).Int())/1000)
	}
	return c.value(b, f, m.Get(f.desc))
}

// value writes one value, a field's or an element's.
func (c *encoder) value(b []byte, f *Field, v protoreflect.Value) []byte {
	switch f.Kind {
	case String:
		return appendString(b, v.String())
	case Integer:
		return strconv.AppendInt(b, v.Int(), 10)
	case Number:
		return appendNumber(b, v.Float())
	case Boolean:
		return strconv.AppendBool(b, v.Bool())
	case Foreign:
		b = append(b, `{"id":`...)
		b = appendString(b, v.Message().Get(f.values).String())
		return append(b, '}')
	case Set, Array:
		b = append(b, '[')
		list := v.Message().Get(f.values).List()
		for i := range list.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.value(b, f.Elem, list.Get(i))
		}
		return append(b, ']')
	case Map:
		return c.object(b, f, v.Message().Get(f.values).Map())
	}
	return c.record(b, f, v.Message())
}

func (c *encoder) record(b []byte, f *Field, m protoreflect.Message) []byte {
	b = append(b, '{')
	first := true
	for _, child := range f.Fields {
		if c.stored && child.Default == nil && !m.Has(child.desc) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, child.Name)
		b = append(b, ':')
		b = c.member(b, child, m)
	}
	return append(b, '}')
}

func (c *encoder) object(b []byte, f *Field, m protoreflect.Map) []byte {
	keys := make([]string, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k.String())
		return true
	})
	slices.SortFunc(keys, strings.Compare)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, key)
		b = append(b, ':')
		b = c.value(b, f.Elem, m.Get(protoreflect.ValueOfString(key).MapKey()))
	}
	return append(b, '}')
}

// config writes the configuration of the named plugin.
func (c *encoder) config(b []byte, name string, data []byte) []byte {
	if isRawJSON(data) {
		return append(b, data...)
	}
	if p := c.schema.plugins[name]; p != nil {
		if m, err := p.message(data); err == nil {
			return c.record(b, p.config, m)
		}
	}
	b = append(b, `{"`+rawConfig+`":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, `"}`...)
}

// isRawJSON says whether configuration bytes are the JSON text of a plugin that was not known when they were
// decoded.
func isRawJSON(data []byte) bool { return len(data) > 0 && data[0] == '{' }

// message reads the configuration bytes of the plugin.
func (p *plugin) message(data []byte) (protoreflect.Message, error) {
	m := p.Config.New()
	return m, proto.Unmarshal(data, m.Interface())
}

// Wire returns the deterministic bytes of a row as a data plane may have it. What must not leave the control
// plane is cleared whatever the caller did: transient fields, encrypted fields of the product's own, and
// values of which a data plane gets a fingerprint (which the caller has put in their place).
func (s *Schema) Wire(e *Entity, m proto.Message) ([]byte, error) {
	r := m.ProtoReflect()
	copied := false
	for _, f := range e.Fields {
		if f.staysHome() && r.Has(f.desc) {
			if !copied {
				m = proto.Clone(m)
				r, copied = m.ProtoReflect(), true
			}
			r.Clear(f.desc)
		}
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}
