package layout_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/store/layout"
)

func TestColumns(t *testing.T) {
	t.Parallel()
	l := layout.Derive()
	tests := map[string][]string{
		"basicauth_credentials": {"id", "workspace", "generation", "username", "consumer_id", "password", "password_check", "tags", "body"},
		"keyauth_credentials":   {"id", "workspace", "generation", "key_fingerprint", "consumer_id", "key", "tags", "body"},
		"certificates":          {"id", "workspace", "generation", "key", "key_alt", "tags", "body"},
		"targets":               {"id", "workspace", "generation", "target", "upstream_id", "tags", "body"},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := l.Table(name)
			if table == nil {
				t.Fatal("no such table")
			}
			if diff := cmp.Diff(want, table.Columns()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParentsStandFirst(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, table := range layout.Derive().Tables() {
		for _, f := range table.References() {
			if !slices.Contains(seen, f.Table) {
				t.Errorf("%s stands before %s, which it refers to", table.Name, f.Table)
			}
		}
		seen = append(seen, table.Name)
	}
	if len(seen) < 10 {
		t.Errorf("only %d tables were found: %v", len(seen), seen)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	l := layout.Derive()
	tests := map[string]struct {
		table string
		want  []string
	}{
		"within a workspace":       {"consumers", []string{"workspace", `"username"`}},
		"over all workspaces":      {"snis", []string{`"name"`}},
		"without workspaces":       {"workspaces", []string{`"name"`}},
		"encrypted: a fingerprint": {"keyauth_credentials", []string{"workspace", `"key_fingerprint"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, l.Table(test.table).Keys[0].Expressions()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSecretsInBodies(t *testing.T) {
	t.Parallel()
	for _, table := range layout.Derive().Tables() {
		if want := table.Name == "plugins" || table.Name == "vaults"; table.Nested != want {
			t.Errorf("%s: the body may hold sealed text: %t", table.Name, table.Nested)
		}
	}
}

// PostgreSQL cuts names after 63 bytes, and two names may then be one.
func TestNamesFitPostgreSQL(t *testing.T) {
	t.Parallel()
	ddl := layout.Derive().DDL(layout.PostgreSQL())
	for _, match := range regexp.MustCompile(`(?:INDEX|TABLE|CONSTRAINT) (\S+)`).FindAllStringSubmatch(ddl, -1) {
		if len(match[1]) > 63 {
			t.Errorf("%s is longer than 63 bytes", match[1])
		}
	}
	if strings.Count(ddl, "CREATE TABLE") < 15 {
		t.Errorf("the DDL is too short to be whole:\n%s", ddl)
	}
}
