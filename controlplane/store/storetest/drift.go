package storetest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/store/layout"
)

var rewrite = flag.Bool("update", false, "write the first migration anew from the schema, while it is the only one and unreleased")

const header = `-- +goose Up
-- Written from the marks in proto/keepgate/config/v1. Released migrations never change: what the schema
-- gains later comes as a migration of its own, and a test compares all of them together with the schema.
`

// Drift fails when the migrations in a folder do not make the database that the schema asks for. describe
// runs scripts on an empty database and lists all that it then holds, one thing a line.
func Drift(t *testing.T, folder string, types layout.Types, describe func(t *testing.T, scripts ...string) []string) {
	t.Helper()
	tables := layout.Derive()
	files, err := filepath.Glob(filepath.Join(folder, "*.sql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations in %s: %v", folder, err)
	}
	if *rewrite {
		if len(files) != 1 {
			t.Fatal("there are migrations after the first: it is frozen, add another one")
		}
		if err := os.WriteFile(files[0], []byte(header+tables.DDL(types)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var scripts []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, string(text))
	}
	want, got := describe(t, tables.DDL(types)), describe(t, scripts...)
	slices.Sort(want)
	slices.Sort(got)
	if len(want) < 50 {
		t.Fatalf("the description of the database has only %d lines", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("The migrations in %s do not make what the schema asks for (- missing, + too much).\n"+
			"Add %s/%04d_what_changes.sql with the statements that lead there (and the same for the other engine),\n"+
			"or, while the first migration is the only one and unreleased, run this test with -update.\n%s",
			folder, folder, len(files)+1, diff)
	}
}
