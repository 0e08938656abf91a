package layout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
)

// workspaces is the one table that others refer to by their workspace column.
const workspaces = "workspaces"

// Derive reads the layout from the marks in the protos of keepgate.config.v1. It fails only when the
// protos contradict themselves, which the tests of this package rule out for those built in.
func Derive() (*Layout, error) {
	layout := &Layout{byName: map[string]*Table{}}
	for _, message := range entities() {
		table, err := tableOf(message)
		if err != nil {
			return nil, err
		}
		if layout.byName[table.Name] != nil {
			return nil, fmt.Errorf("two entities claim the table %s", table.Name)
		}
		layout.byName[table.Name] = table
		layout.tables = append(layout.tables, table)
	}
	return layout, layout.order()
}

// entities lists the messages that are marked as entities, of all files of the package.
func entities() []protoreflect.MessageDescriptor {
	files := []protoreflect.FileDescriptor{
		configv1.File_keepgate_config_v1_routing_proto, configv1.File_keepgate_config_v1_identity_proto,
		configv1.File_keepgate_config_v1_balancing_proto, configv1.File_keepgate_config_v1_tls_proto,
	}
	var found []protoreflect.MessageDescriptor
	for _, file := range files {
		for i := range file.Messages().Len() {
			if message := file.Messages().Get(i); entityMark(message).GetTable() != "" {
				found = append(found, message)
			}
		}
	}
	return found
}

func entityMark(message protoreflect.MessageDescriptor) *schemav1.Entity {
	mark, _ := proto.GetExtension(message.Options(), schemav1.E_Entity).(*schemav1.Entity)
	return mark
}

func fieldMark(field protoreflect.FieldDescriptor) *schemav1.Field {
	mark, _ := proto.GetExtension(field.Options(), schemav1.E_Field).(*schemav1.Field)
	return mark
}

func tableOf(message protoreflect.MessageDescriptor) (*Table, error) {
	entity := entityMark(message)
	table := &Table{Name: entity.GetTable(), Workspaced: !entity.GetGlobal()}
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		mark, name := fieldMark(field), string(field.Name())
		if mark.GetVisibility() == schemav1.Visibility_VISIBILITY_WIRE {
			continue
		}
		if parent := mark.GetForeign().GetTable(); parent != "" {
			column := Column{name, name + "_id"}
			table.Foreign = append(table.Foreign, Foreign{column, parent, table.Name + "_" + name + "_fkey"})
		}
		if mark.GetEncrypted() {
			table.Sealed = append(table.Sealed, Column{name, name})
		}
		if mark.GetUnique() {
			table.addKey([]string{name}, mark.GetAcrossWorkspaces(), message)
		}
	}
	for _, key := range entity.GetUniqueKey() {
		for _, name := range key.GetFields() {
			if message.Fields().ByName(protoreflect.Name(name)) == nil {
				return nil, fmt.Errorf("%s: a unique key names the field %s, which does not exist", table.Name, name)
			}
		}
		table.addKey(key.GetFields(), false, message)
	}
	return table, nil
}

func (t *Table) addKey(fields []string, across bool, message protoreflect.MessageDescriptor) {
	key := Key{
		Index:   t.Name + "_" + strings.Join(fields, "_") + "_key",
		Overall: across || !t.Workspaced,
	}
	for _, name := range fields {
		if reference, ok := t.Reference(name); ok {
			key.Parts = append(key.Parts, Part{reference.Column, true})
			continue
		}
		column := Column{name, name}
		if fieldMark(message.Fields().ByName(protoreflect.Name(name))).GetEncrypted() {
			column.Name += "_fingerprint"
		}
		if _, ok := t.Value(name); !ok {
			t.Values = append(t.Values, column)
		}
		key.Parts = append(key.Parts, Part{column, false})
	}
	t.Keys = append(t.Keys, key)
}

// order sorts the tables by name and then moves those referred to before those that refer.
func (l *Layout) order() error {
	slices.SortFunc(l.tables, func(a, b *Table) int { return cmp.Compare(a.Name, b.Name) })
	var ordered []*Table
	placed := map[string]bool{}
	for len(ordered) < len(l.tables) {
		before := len(ordered)
		for _, table := range l.tables {
			if !placed[table.Name] && table.ready(placed) {
				ordered, placed[table.Name] = append(ordered, table), true
			}
		}
		if len(ordered) == before {
			return fmt.Errorf("foreign keys form a circle, or refer to a table that does not exist")
		}
	}
	l.tables = ordered
	return nil
}

func (t *Table) ready(placed map[string]bool) bool {
	return !slices.ContainsFunc(t.References(), func(f Foreign) bool {
		return f.Table != t.Name && !placed[f.Table]
	})
}
