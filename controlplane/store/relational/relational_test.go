package relational

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/record"
)

// TestRefsFormat holds the stored form of a revision's refs: a change of it needs a migration.
func TestRefsFormat(t *testing.T) {
	t.Parallel()
	row := func(table, workspace, id string) record.Row {
		return record.Row{Table: table, Workspace: workspace, ID: id}
	}
	groups := []group{
		{changes: []record.Change{{Row: row("workspaces", "", "w1")}}},
		{changes: []record.Change{
			{Row: row("routes", "w1", "a")},
			{Row: row("routes", "w1", "b")},
			{Row: row("routes", "w1", "c"), Delete: true},
			{Row: row("routes", "w2", `<"ä">`)},
		}},
	}
	golden := filepath.Join("testdata", "refs.golden")
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encodeRefs(groups)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), text); diff != "" {
		t.Error(diff)
	}
	refs, err := decodeRefs(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record.Ref{
		{Table: "workspaces", ID: "w1"},
		{Table: "routes", Workspace: "w1", ID: "a"},
		{Table: "routes", Workspace: "w1", ID: "b"},
		{Table: "routes", Workspace: "w1", ID: "c", Deleted: true},
		{Table: "routes", Workspace: "w2", ID: `<"ä">`},
	}, refs); diff != "" {
		t.Error(diff)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		numbered  bool
		in, wants string
	}{
		"as they are": {false, "a = ? AND b = ?", "a = ? AND b = ?"},
		"numbered":    {true, "a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"},
		"none":        {true, "COMMIT", "COMMIT"},
		"at the end":  {true, "?", "$1"},
	}
	for name, test := range tests {
		if got := (&Dialect{Numbered: test.numbered}).text(test.in); got != test.wants {
			t.Errorf("%s: %q", name, got)
		}
	}
}
