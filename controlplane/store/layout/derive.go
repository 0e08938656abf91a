package layout

import (
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/schema"
)

// workspaces is the one table that others refer to by their workspace column.
const workspaces = "workspaces"

// Derive reads the layout from the schema. Plugins play no part in it: their configuration lies in a body.
func Derive() *Layout {
	layout := &Layout{byName: map[string]*Table{}}
	for _, entity := range schema.New(nil).Entities() { // parents before children, but for workspaces
		table := tableOf(entity)
		layout.byName[table.Name] = table
		if table.Name == workspaces {
			layout.tables = slices.Insert(layout.tables, 0, table)
			continue
		}
		layout.tables = append(layout.tables, table)
	}
	return layout
}

func tableOf(entity *schema.Entity) *Table {
	table := &Table{Name: entity.Table, Workspaced: entity.Workspaced}
	for _, f := range entity.Foreign {
		column := Column{f.Field.Name, f.Column}
		table.Foreign = append(table.Foreign, Foreign{column, f.Table, entity.Table + "_" + f.Field.Name + "_fkey"})
	}
	for _, f := range entity.Sealed {
		table.Sealed = append(table.Sealed, Column{f.Name, f.Name})
	}
	for _, u := range entity.Unique {
		table.addKey(u)
	}
	for _, f := range entity.Fields {
		if _, column := table.Secret(f.Name); !column && holdsSecrets(f) {
			table.Nested = true
		}
	}
	return table
}

// holdsSecrets says whether a field, or one inside of it, is stored encrypted. What the configuration of a
// plugin holds its own schema says, so any may.
func holdsSecrets(f *schema.Field) bool {
	switch {
	case f == nil || f.Visibility != schema.Shown && f.Visibility != schema.Stored:
		return false
	case f.Encrypted || f.Kind == schema.Config:
		return true
	}
	return holdsSecrets(f.Elem) || holdsSecrets(f.Key) || slices.ContainsFunc(f.Fields, holdsSecrets)
}

// addKey adds a key and the columns it needs. The schema sees a key over several fields as one column; the
// store keeps its fields apart, so that rows can be found by one of them.
func (t *Table) addKey(unique *schema.Unique) {
	key := Key{Overall: unique.Global}
	var names []string
	for _, f := range unique.Fields {
		names = append(names, f.Name)
		if reference, ok := t.Reference(f.Name); ok {
			key.Parts = append(key.Parts, Part{reference.Column, true})
			continue
		}
		column := Column{f.Name, f.Name}
		if len(unique.Fields) == 1 {
			column.Name = unique.Column // a fingerprint has another name
		}
		if _, ok := t.Value(f.Name); !ok {
			t.Values = append(t.Values, column)
		}
		key.Parts = append(key.Parts, Part{column, false})
	}
	key.Index = t.Name + "_" + strings.Join(names, "_") + "_key"
	t.Keys = append(t.Keys, key)
}
