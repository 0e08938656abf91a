package schema

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// pattern is a compiled pattern mark.
type pattern struct {
	re      *regexp.Regexp
	message string
}

// optionsOf reads one of our options from a descriptor. It panics when the option is not of type T, which
// only a wrong call in this package can cause.
func optionOf[T any](d protoreflect.Descriptor, x protoreflect.ExtensionType) T {
	return proto.GetExtension(d.Options(), x).(T)
}

// compileRecord reads all fields of a message. Its errors are mistakes in the protos, found by the tests.
func compileRecord(f *Field, d protoreflect.MessageDescriptor, implicit bool) error {
	f.byName = make(map[string]*Field, d.Fields().Len())
	f.checks = optionOf[[]*schemav1.Check](d, schemav1.E_Check)
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		marks := optionOf[*schemav1.Field](fd, schemav1.E_Field)
		if marks == nil {
			marks = &schemav1.Field{}
		}
		child := &Field{Name: cmp.Or(marks.GetName(), string(fd.Name())), desc: fd, marks: marks, implicit: implicit}
		child.Path = child.Name
		if f.Path != "" {
			child.Path = f.Path + "." + child.Name
		}
		if err := compileField(child, fd, implicit); err != nil {
			return fmt.Errorf("field %s of %s: %w", child.Path, d.FullName(), err)
		}
		f.Fields = append(f.Fields, child)
		f.byName[child.Name] = child
		f.secrets = f.secrets || child.secrets
		f.references = f.references || child.references
	}
	return nil
}

func compileField(f *Field, fd protoreflect.FieldDescriptor, implicit bool) error {
	if err := f.readMarks(); err != nil {
		return err
	}
	if f.marks.GetPluginConfig() {
		f.Kind = Config
		return nil
	}
	switch {
	case f.Visibility == Wire:
		f.Kind = Array // only walked as proto, never as a tree
		return nil
	case fd.IsList() || fd.IsMap():
		return fmt.Errorf("repeated outside a collection message")
	}
	return f.compileKind(fd, implicit)
}

// compileKind finds the kind from the proto type, for a field or for an element of a collection.
func (f *Field) compileKind(fd protoreflect.FieldDescriptor, implicit bool) error {
	switch fd.Kind() {
	case protoreflect.StringKind:
		f.Kind = String
	case protoreflect.Int64Kind:
		f.Kind = Integer
	case protoreflect.DoubleKind:
		f.Kind = Number
	case protoreflect.BoolKind:
		f.Kind = Boolean
	case protoreflect.MessageKind:
		return f.compileMessage(fd.Message(), implicit)
	default:
		return fmt.Errorf("kind %v has no place in an entity", fd.Kind())
	}
	if f.Encrypted && f.Kind != String {
		return fmt.Errorf("only strings can be sealed")
	}
	f.secrets, f.references = f.Encrypted, f.Referenceable
	return nil
}

func (f *Field) compileMessage(d protoreflect.MessageDescriptor, implicit bool) error {
	if f.marks.GetForeign() != nil {
		f.Kind, f.Reference = Foreign, f.marks.GetForeign().GetTable()
		f.values = d.Fields().ByName("id")
		return nil
	}
	switch optionOf[schemav1.Collection](d, schemav1.E_Collection) {
	case schemav1.Collection_COLLECTION_SET:
		f.Kind = Set
	case schemav1.Collection_COLLECTION_ARRAY:
		f.Kind = Array
	case schemav1.Collection_COLLECTION_MAP:
		f.Kind = Map
	default:
		f.Kind = Record
		return compileRecord(f, d, implicit)
	}
	f.values = d.Fields().ByName("values")
	element := f.values
	if f.Kind == Map {
		element = f.values.MapValue()
		if keys := f.marks.GetKeys(); keys != nil {
			f.Key = &Field{Name: f.Name, Path: f.Path, marks: keys}
			if err := f.Key.readMarks(); err != nil {
				return err
			}
		}
	}
	marks := f.marks.GetElements()
	if marks == nil {
		marks = &schemav1.Field{}
	}
	if f.Encrypted {
		marks = proto.CloneOf(marks)
		marks.Encrypted = true
	}
	f.Elem = &Field{Name: f.Name, Path: f.Path, marks: marks}
	if err := f.Elem.readMarks(); err != nil {
		return err
	}
	if err := f.Elem.compileKind(element, implicit); err != nil {
		return err
	}
	f.secrets, f.references = f.Elem.secrets, f.Elem.references
	return nil
}

// readMarks copies what the options say and compiles what checks need.
func (f *Field) readMarks() error {
	m := f.marks
	f.Visibility, f.Auto, f.OneWay = m.GetVisibility(), m.GetAuto(), m.GetOneWay()
	f.Required, f.Encrypted, f.Referenceable = m.GetRequired(), m.GetEncrypted(), m.GetReferenceable()
	f.Unique, f.Immutable, f.Computed = m.GetUnique(), m.GetImmutable(), m.GetComputed()
	if b := m.GetBetween(); b != nil {
		f.between = fmt.Sprintf("value should be between %s and %s", plain(b.GetMin()), plain(b.GetMax()))
	}
	if text := m.GetDefault(); text != "" {
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		decoder.UseNumber()
		if err := decoder.Decode(&f.Default); err != nil {
			return fmt.Errorf("reading default %q: %w", text, err)
		}
	}
	if m.GetPattern() == "" {
		return nil
	}
	re, err := regexp.Compile(m.GetPattern())
	if err != nil {
		return fmt.Errorf("reading pattern: %w", err)
	}
	f.pattern = pattern{re, m.GetPatternMessage()}
	return nil
}

// plain writes a number without exponent and without trailing zeros.
func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// columnName joins field names to a column name.
func columnName(fields []*Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return "unique_" + strings.Join(names, "_")
}
