package configcmd

import (
	"strings"
	"testing"
)

// A name cannot pass for another change, nor speak to the terminal.
func TestNamesStayInTheirLines(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := report{DryRun: true, Changes: []change{
		{Action: "create", Entity: "key_value_entries", Name: "a\ndelete  services/shop"},
		{Action: "update", Entity: "key_value_entries", Name: "\x1b[2J", Fields: []string{"value"}},
		{Action: "create", Entity: "consumers", Name: "Zoë/1 a"},
	}}
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	const want = `create  key_value_entries/"a\ndelete  services/shop"
update  key_value_entries/"\x1b[2J"  (value)
create  consumers/Zoë/1 a
0 created, 0 updated, 0 deleted, 0 unchanged: a dry run, nothing was written
`
	if b.String() != want {
		t.Errorf("printed is\n%s", b.String())
	}
}
