package doctorcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/doctor/doctorcmd"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func run(t *testing.T, findings []finding.Finding, args ...string) (string, cpsettings.ControlPlane, error) {
	t.Helper()
	var asked cpsettings.ControlPlane
	cmd, err := doctorcmd.Command("keepgate-cp", "control plane", "Look.", func(_ context.Context, s cpsettings.ControlPlane) []finding.Finding {
		asked = s
		return findings
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceErrors = true
	err = cmd.ExecuteContext(t.Context())
	return out.String(), asked, err
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	findings := []finding.Finding{
		{Area: "PostgreSQL", Step: "settings", Verdict: finding.OK, Fact: "fine"},
		{Area: "PostgreSQL", Step: "client key", Verdict: finding.Wrong, Fact: "open", Mend: "chmod 600 k"},
		{Area: "memory", Step: "lock", Verdict: finding.Warning, Fact: "not locked", Mend: "lock it"},
	}
	out, asked, err := run(t, findings, "--prefix", "/srv/k", "--pg-user", "kong")
	if err == nil || err.Error() != "one thing is wrong" {
		t.Errorf("err = %v", err)
	}
	if asked.Process.Prefix != "/srv/k" || asked.Database.Postgres.User != "kong" {
		t.Errorf("the settings are not those of run: %q %q", asked.Process.Prefix, asked.Database.Postgres.User)
	}
	want := `PostgreSQL
  ok       settings    fine
  wrong    client key  open
                       → chmod 600 k
memory
  warning  lock        not locked
                       → lock it
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	out, _, err = run(t, findings, "--json")
	var read struct {
		Wrong, Warnings int
		Findings        []finding.Finding
	}
	if jsonErr := json.Unmarshal([]byte(out), &read); jsonErr != nil || err == nil {
		t.Fatalf("%v, %v: %s", jsonErr, err, out)
	}
	if diff := cmp.Diff(findings, read.Findings); diff != "" || read.Wrong != 1 || read.Warnings != 1 {
		t.Errorf("%s %+v", diff, read)
	}
	if _, _, err := run(t, findings[2:]); err != nil {
		t.Errorf("a warning fails: %v", err)
	}
	open := filepath.Join(t.TempDir(), "pg.password")
	if err := os.WriteFile(open, []byte("open-sesame"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err = run(t, nil, "--pg-password-file", open); err == nil || !strings.Contains(err.Error(), "; chmod 600 "+open) {
		t.Errorf("a password that others may read passes: %v", err)
	}
	out, _, err = run(t, nil, "--keyring-vault-token-file", open)
	if err != nil || !strings.Contains(out, "  warning  read  keyring_vault_token_file cannot be used") || !strings.Contains(out, "→ write the secret into it") {
		t.Errorf("what a start warns of in the settings is left out: %v\n%s", err, out)
	}
	if _, _, err := run(t, nil, "--pg-port", "none"); err == nil {
		t.Error("a fault in the settings passes")
	}
}
