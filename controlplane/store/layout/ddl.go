package layout

import (
	"fmt"
	"strings"
)

// Types are the words in which the engines differ.
type Types struct {
	ID       string // text that compares bytewise
	Text     string
	Integer  string // 64 bits
	Bytes    string
	Tags     string
	TagIndex string // a format with the names of index and table, or "" for none
	Options  string // at the end of each CREATE TABLE
	Roomy    string // there too, of tables whose rows are sealed anew all at once
}

// PostgreSQL and SQLite return the words of each engine.
func PostgreSQL() Types {
	return Types{
		ID: `text COLLATE "C"`, Text: "text", Integer: "bigint", Bytes: "bytea", Tags: "text[]",
		TagIndex: "CREATE INDEX %s ON %s USING gin (tags);\n",
		// A second copy of every row has room beside the first, so that a batch of neighbours is written
		// without touching an index (measured: 8 times as fast). Without it the first re-encryption takes the same room.
		Roomy: " WITH (fillfactor = 50)",
	}
}

// SQLite compares text bytewise by itself; its tables are strict, so that no column takes a wrong type.
func SQLite() Types {
	return Types{ID: "text", Text: "text", Integer: "integer", Bytes: "blob", Tags: "text", Options: " STRICT"}
}

// DDL writes the statements that make an empty database one of this layout.
func (l *Layout) DDL(types Types) string {
	var b strings.Builder
	for _, table := range l.tables {
		table.ddl(&b, types)
	}
	for _, table := range own(types) {
		fmt.Fprintf(&b, "\nCREATE TABLE %s (\n    %s\n)%s;\n", table.name, strings.Join(table.lines, ",\n    "), types.Options)
	}
	b.WriteString("CREATE INDEX audit_entries_at_idx ON audit_entries (at, node, sequence);\n")
	b.WriteString("INSERT INTO revision (id, number) VALUES (1, 0);\n")
	return b.String()
}

func (t *Table) ddl(b *strings.Builder, types Types) {
	lines := []string{
		"id " + types.ID + " PRIMARY KEY", "workspace " + types.ID + " NOT NULL", "generation " + types.Integer + " NOT NULL",
	}
	for _, c := range t.Values {
		lines = append(lines, Quote(c.Name)+" "+types.Text)
	}
	for _, f := range t.Foreign {
		lines = append(lines, Quote(f.Name)+" "+types.ID)
	}
	for _, c := range t.Sealed {
		lines = append(lines, Quote(c.Name)+" "+types.Text)
	}
	lines = append(lines, "tags "+types.Tags, "body "+types.Text+" NOT NULL")
	for _, f := range t.References() {
		lines = append(lines, fmt.Sprintf("CONSTRAINT %s FOREIGN KEY (%s) REFERENCES %s (id) DEFERRABLE INITIALLY DEFERRED",
			f.Constraint, Quote(f.Name), f.Table))
	}
	options := types.Options
	if t.Nested || len(t.Sealed) > 0 {
		options += types.Roomy
	}
	fmt.Fprintf(b, "\nCREATE TABLE %s (\n    %s\n)%s;\n", t.Name, strings.Join(lines, ",\n    "), options)
	for _, k := range t.Keys {
		fmt.Fprintf(b, "CREATE UNIQUE INDEX %s ON %s (%s);\n", k.Index, t.Name, strings.Join(k.Expressions(), ", "))
	}
	for _, f := range t.References() {
		fmt.Fprintf(b, "CREATE INDEX %s_%s_idx ON %s (%s, id);\n", t.Name, f.Field, t.Name, Quote(f.Name))
	}
	if types.TagIndex != "" {
		fmt.Fprintf(b, types.TagIndex, t.Name+"_tags_idx", t.Name)
	}
}

// Expressions are what a key's index holds, and what a search for one of its values compares.
func (k Key) Expressions() []string {
	var expressions []string
	if !k.Overall {
		expressions = append(expressions, "workspace")
	}
	for _, p := range k.Parts {
		if p.Reference {
			expressions = append(expressions, "coalesce("+Quote(p.Name)+", '')")
			continue
		}
		expressions = append(expressions, Quote(p.Name))
	}
	return expressions
}

// Quote makes a name safe to stand in a statement: "key" and others are words of SQL. Names come from the
// schema and hold no quotes themselves.
func Quote(name string) string { return `"` + name + `"` }

type ownTable struct {
	name  string
	lines []string
}

// own are the tables that hold no entities.
func own(types Types) []ownTable {
	id, text, integer, bytes := types.ID, types.Text, types.Integer, types.Bytes
	return []ownTable{
		// The one row is locked last in every write, so that numbers follow the order of commits.
		{"revision", []string{"id " + integer + " PRIMARY KEY CHECK (id = 1)", "number " + integer + " NOT NULL"}},
		{"changes", []string{
			"revision " + integer + " PRIMARY KEY", "at " + integer + " NOT NULL",
			"batch " + text + " NOT NULL", "refs " + text + " NOT NULL",
		}},
		{"meta", []string{"name " + id + " PRIMARY KEY", "value " + text + " NOT NULL"}},
		{"keyring_keys", []string{
			"id " + id + " PRIMARY KEY", "ring " + id + " NOT NULL", "state " + text + " NOT NULL",
			"created_at " + integer + " NOT NULL", "activated_at " + integer + " NOT NULL",
			"check_value " + bytes + " NOT NULL", "recovery " + bytes + " NOT NULL",
			"wrapped " + bytes + " NOT NULL", "signature " + bytes + " NOT NULL",
		}},
		{"data_planes", []string{
			"id " + id + " PRIMARY KEY", "organisation " + text + " NOT NULL", "environment " + text + " NOT NULL",
			"seen " + integer + " NOT NULL", "body " + text + " NOT NULL",
		}},
		// Leases of control plane nodes, dated by the database's clock in milliseconds.
		{"control_planes", []string{"id " + id + " PRIMARY KEY", "at " + integer + " NOT NULL", "body " + text + " NOT NULL"}},
		{"audit_entries", []string{
			"node " + id + " NOT NULL", "sequence " + integer + " NOT NULL", "at " + integer + " NOT NULL",
			"body " + text + " NOT NULL", "hash " + bytes + " NOT NULL", "PRIMARY KEY (node, sequence)",
		}},
	}
}
