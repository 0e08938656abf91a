package process_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestHowAProcessEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		arguments []string
		status    int
		says      string // all that stderr gets; no more than its begin where it does not end the line
	}{
		"well":                {[]string{"check"}, 0, ""},
		"an error":            {[]string{"check", "--mode", "unfit"}, 1, "sample: mode: its certificate is no certificate\n"},
		"a status of its own": {[]string{"check", "--mode", "differs"}, 2, "sample: it differs\n"},
		"its name once":       {[]string{"run", "--prefix", "/dev/null/none"}, 1, "sample in /dev/null/none: "},
		"an unknown flag":     {[]string{"check", "--no-such"}, 1, "sample: unknown flag: --no-such\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], test.arguments...)
			child.Dir = t.TempDir()
			var stderr bytes.Buffer
			child.Stderr = &stderr
			err := child.Run()
			status := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if said := stderr.String(); status != test.status || !strings.HasPrefix(said, test.says) || test.says == "" && said != "" ||
				strings.HasSuffix(test.says, "\n") && said != test.says {
				t.Errorf("it ended with %d and said %q", status, said)
			}
		})
	}
}
