// Package layout says which table and which columns each entity of the schema has, and writes the DDL.
//
// It is derived from the schema and holds no list of its own, so a new entity needs no line here but a
// migration: the drift tests of store/sqlite and store/postgres say so. It knows no values and opens no
// database.
//
// An entity's table has the columns id (the primary key), workspace, generation, one for each value that
// takes part in a unique key (an encrypted one is kept as its fingerprint, in "<field>_fingerprint"),
// "<field>_id" for each foreign key, one for each top-level encrypted field under the field's own name,
// tags and body.
package layout

import "slices"

// Layout is all tables of the schema's entities.
type Layout struct {
	tables []*Table
	byName map[string]*Table
}

// Table is where the rows of one entity lie.
type Table struct {
	Name       string
	Workspaced bool
	Values     []Column  // parts of unique keys that are no foreign keys
	Foreign    []Foreign // in the order of the schema
	Sealed     []Column
	Nested     bool // the body may hold sealed text, too
	bare       bool // without tags and body
	Keys       []Key
}

// Column is where one field lies.
type Column struct{ Field, Name string }

// Foreign is a column that refers to a row of another table.
type Foreign struct {
	Column
	Table      string // referred to
	Constraint string
}

// Key is a set of columns that is unique, within a workspace or over all.
type Key struct {
	Index   string // its name
	Parts   []Part
	Overall bool // over all workspaces
}

// Part is one column of a key.
type Part struct {
	Column
	Reference bool // a foreign key; null equals null then
}

// Tables returns all tables, those referred to before those that refer.
func (l *Layout) Tables() []*Table { return slices.Clone(l.tables) }

// Table returns a table by name, or nil.
func (l *Layout) Table(name string) *Table { return l.byName[name] }

// References are the foreign columns of a table and, where it has workspaces, the workspace's own.
func (t *Table) References() []Foreign {
	if !t.Workspaced {
		return t.Foreign
	}
	workspace := Foreign{Column{"workspace", "workspace"}, workspaces, t.Name + "_workspace_fkey"}
	return append([]Foreign{workspace}, t.Foreign...)
}

// Value returns the column of a field that takes part in a unique key.
func (t *Table) Value(field string) (Column, bool) { return find(t.Values, field) }

// Secret returns the column of a top-level encrypted field.
func (t *Table) Secret(field string) (Column, bool) { return find(t.Sealed, field) }

// Reference returns the column of a foreign key.
func (t *Table) Reference(field string) (Foreign, bool) {
	for _, f := range t.Foreign {
		if f.Field == field {
			return f, true
		}
	}
	return Foreign{}, false
}

// KeyOf returns the key that a field is by itself.
func (t *Table) KeyOf(field string) (Key, bool) {
	for _, k := range t.Keys {
		if len(k.Parts) == 1 && k.Parts[0].Field == field {
			return k, true
		}
	}
	return Key{}, false
}

// Columns lists the names of all columns in the order of the DDL.
func (t *Table) Columns() []string {
	names := []string{"id", "workspace", "generation"}
	for _, c := range t.Values {
		names = append(names, c.Name)
	}
	for _, f := range t.Foreign {
		names = append(names, f.Name)
	}
	for _, c := range t.Sealed {
		names = append(names, c.Name)
	}
	if t.bare {
		return names
	}
	return append(names, "tags", "body")
}

// Bare reports whether Columns are without tags and body.
func (t *Table) Bare() bool { return t.bare }

// Secrets is the table as far as it may hold secrets, with what a row is known by: all of it where they may be in the body.
func (t *Table) Secrets() *Table {
	if t.Nested {
		return t
	}
	return &Table{Name: t.Name, Workspaced: t.Workspaced, Sealed: t.Sealed, bare: true}
}

func find(columns []Column, field string) (Column, bool) {
	for _, c := range columns {
		if c.Field == field {
			return c, true
		}
	}
	return Column{}, false
}
