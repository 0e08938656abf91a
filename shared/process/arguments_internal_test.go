package process

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/shared/settings"
)

type switched struct {
	Prefix  string `key:"prefix" default:"/none" help:"The folder."`
	Enabled bool   `key:"keyring_enabled" default:"off" help:"A boolean."`
	Strict  bool   `key:"strict" default:"on" help:"Another one."`
	Mode    string `key:"mode" default:"a" help:"A text."`
}

// line runs a command line and says what it set, and what it was given.
func line(t *testing.T, arguments ...string) (set switched, given []string, err error) {
	t.Helper()
	root, err := Program[switched]{
		Name: "sample", Prefix: func(s switched) string { return s.Prefix },
		Run:   func(context.Context, *Instance, switched, *settings.Loaded) error { return nil },
		Check: func(s switched) error { set = s; return nil },
	}.Root("short", "long")
	if err != nil {
		t.Fatal(err)
	}
	group := &cobra.Command{Use: "group", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	below := &cobra.Command{Use: "below", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	below.Flags().Bool("json", false, "")
	one := &cobra.Command{Use: "one NAME", Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, arguments []string) error {
		given = arguments
		return nil
	}}
	if _, err := settings.Bind(one, &switched{}); err != nil {
		t.Fatal(err)
	}
	group.AddCommand(below)
	root.AddCommand(group, one)
	root.SetOut(io.Discard)
	give(root, arguments)
	return set, given, root.Execute()
}

func TestASwitchNeedsNoValue(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arguments []string
		want      switched
	}{
		"left out":     {nil, switched{"/none", false, true, "a"}},
		"alone":        {[]string{"--keyring-enabled"}, switched{"/none", true, true, "a"}},
		"behind =":     {[]string{"--keyring-enabled=on", "--strict=off"}, switched{"/none", true, false, "a"}},
		"apart":        {[]string{"--keyring-enabled", "true", "--strict", "off"}, switched{"/none", true, false, "a"}},
		"empty":        {[]string{"--strict", "", "--keyring-enabled", ""}, switched{"/none", false, true, "a"}},
		"before other": {[]string{"--keyring-enabled", "--mode", "off", "--strict", "false"}, switched{"/none", true, false, "off"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _, err := line(t, append([]string{"check"}, test.arguments...)...); got != test.want || err != nil {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if _, given, err := line(t, "one", "--strict", "name"); len(given) != 1 || given[0] != "name" || err != nil {
		t.Errorf("given %q, %v", given, err)
	}
	if _, given, err := line(t, "one", "--strict", "--", "on"); len(given) != 1 || given[0] != "on" || err != nil {
		t.Errorf("given %q, %v", given, err)
	}
}

func TestArgumentsWhereThereAreNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ line, want string }{
		"an argument":           {"check hidden", "check takes no arguments, but was given 1 beside its flags"},
		"of a command below":    {"group below hidden hidden", "group below takes no arguments, but was given 2 beside its flags"},
		"no boolean":            {"check --mode b --strict hidden", "check takes no arguments, but was given 1 beside its flags; if one is the value of --strict, write --strict=…"},
		"no true":               {"group below --json hidden", "group below takes no arguments, but was given 1 beside its flags; if one is the value of --json, write --json=…"},
		"one that has a value":  {"check --strict=off hidden", "check takes no arguments, but was given 1 beside its flags"},
		"behind another flag":   {"check --strict --mode b hidden", "check takes no arguments, but was given 1 beside its flags"},
		"too many":              {"one a b", "accepts 1 arg(s), received 2"},
		"too few":               {"one", "accepts 1 arg(s), received 0"},
		"a flag before it":      {"--strict check", "unknown flag: --strict; flags stand behind the command: sample COMMAND --strict"},
		"before one of several": {"group --json below", "unknown flag: --json; flags stand behind the command: sample group COMMAND --json"},
		"a flag of none":        {"--hidden check", "unknown flag: --hidden"},
		"no command":            {"group nothing", `unknown command "nothing" for "sample group"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := line(t, strings.Fields(test.line)...); err == nil || err.Error() != test.want {
				t.Errorf("it said %v", err)
			}
		})
	}
}
