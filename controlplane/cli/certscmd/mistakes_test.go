package certscmd_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
)

// TestMistakesNameTheRemedy makes what a hurried operator makes.
func TestMistakesNameTheRemedy(t *testing.T) {
	t.Parallel()
	dir, pki := newCA(t), filepath.Join(t.TempDir(), "pki")
	_, notes := mustRun(t, "init", "--intermediate", "--dir", filepath.Join(t.TempDir(), "deep"))
	if strings.Contains(notes, "any more") || !strings.Contains(notes, "but those of certs authority") {
		t.Errorf("the root's key is said to be of no use: %s", notes)
	}
	mustRun(t, "postgres", "--dir", pki)
	mustRun(t, "issue", "cp-9", "--role", "control-plane", "--dns", "cp-9.example", "--dir", dir)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a CA again":           {[]string{"init", "--dir", dir}, "ca.crt is there already: nothing was changed; for another CA name another folder"},
		"a leaf again":         {[]string{"issue", "cp-9", "--role", "control-plane", "--dns", "cp-9.example", "--dir", dir}, "keepgate-cp certs renew " + filepath.Join(dir, "cp-9.crt")},
		"a role written wrong": {[]string{"issue", "x", "--role", "controlplane", "--dir", dir}, `role "controlplane" is not one of [control-plane data-plane admin kms server client]`},
		"the CA as a leaf":     {[]string{"renew", filepath.Join(dir, "ca.crt"), "--dir", dir}, "keepgate-cp certs authority renew"},
		"a second server":      {[]string{"postgres", "--dir", pki, "--host", "db-2"}, "keepgate-cp certs issue NAME --role server"},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: a CA's folder takes one command at a time
			if _, _, err := run(t, test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %q", err, test.want)
			}
		})
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	t.Parallel()
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has none", cmd.CommandPath())
		}
		for _, below := range cmd.Commands() {
			look(below)
		}
	}
	look(certscmd.Command())
}
