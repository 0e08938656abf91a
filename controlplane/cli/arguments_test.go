package cli_test

import (
	"io"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/cli"
)

func TestArgumentsAreNamed(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"environments holds":     "NAME is missing; write: keepgate-cp environments holds NAME",
		"kek create":             "NAME is missing; write: keepgate-cp kek create NAME",
		"kek retire main":        "KEY_ID is missing; write: keepgate-cp kek retire NAME KEY_ID",
		"config push":            "FILE… is missing; write: keepgate-cp config push FILE…",
		"kek rotate main please": `"please" is too much; write: keepgate-cp kek rotate NAME`,
		"kek list main":          "unknown command",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			root, err := cli.Root(cli.Plane{})
			if err != nil {
				t.Fatal(err)
			}
			root.SetArgs(strings.Fields(line))
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			if err := root.ExecuteContext(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v\nwant %q", err, want)
			}
		})
	}
}
