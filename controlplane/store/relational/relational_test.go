package relational

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// A statement carries no more than the database takes, and every row is in one.
func TestResealChunks(t *testing.T) {
	t.Parallel()
	large, small := make([]byte, resealBytes/2-1), make([]byte, 10)
	for name, test := range map[string]struct {
		bodies [][]byte
		want   []int
	}{
		"none":              {nil, nil},
		"one":               {[][]byte{small}, []int{1}},
		"as many as fit":    {slices.Repeat([][]byte{small}, resealChunk), []int{resealChunk}},
		"one more":          {slices.Repeat([][]byte{small}, resealChunk+1), []int{resealChunk, 1}},
		"large ones":        {[][]byte{large, large, large, small}, []int{2, 2}},
		"one beyond bounds": {[][]byte{small, make([]byte, 2*resealBytes), small}, []int{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows []record.Resealed
			for i, body := range test.bodies {
				rows = append(rows, record.Resealed{ID: strconv.Itoa(i), Body: body})
			}
			var got []int
			next := 0
			for chunk := range resealChunks(rows) {
				for _, row := range chunk {
					if row.ID != strconv.Itoa(next) {
						t.Errorf("row %s stands where row %d belongs", row.ID, next)
					}
					next++
				}
				got = append(got, len(chunk))
			}
			if next != len(rows) || !slices.Equal(got, test.want) {
				t.Errorf("chunks of %v rows, want %v", got, test.want)
			}
		})
	}
}
