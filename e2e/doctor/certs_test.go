package doctor_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/controlplane/cli/certscmd"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// certs runs `keepgate-cp certs` and returns what it prints.
func certs(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := certscmd.Command()
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("certs %s: %v", strings.Join(args, " "), err)
	}
	return out.String()
}

// TestCertsPostgres makes both trees with one command each, gives the server its files and the lines that the command prints, and
// logs in as the client's common name, verified by both sides.
func TestCertsPostgres(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, flags := range map[string][]string{"direct": nil, "intermediate": {"--intermediate"}} {
		dir := filepath.Join(t.TempDir(), "pki")
		printed := certs(t, append([]string{"postgres", "--dir", dir, "--host", "localhost", "--user", "kong"}, flags...)...)
		conf, rest, _ := strings.Cut(printed, "\npg_hba.conf:\n")
		rules, ours, found := strings.Cut(rest, "\nkeepgate.conf:\n")
		_, conf, _ = strings.Cut(conf, "runs PostgreSQL:\n")
		if !found {
			t.Fatalf("%s prints %s", name, printed)
		}
		ca := map[string]string{"direct": "ca.crt", "intermediate": "chain.crt"}[name]
		for file, mode := range map[string]os.FileMode{"server.crt": 0o644, "server.key": 0o600, ca: 0o644, "crl.pem": 0o644} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.server.Install(file, data, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.server.Install(pgtest.Included, []byte(conf), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := b.server.Install("pg_hba.conf", []byte("local all keepgate trust\n"+rules), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := b.server.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := ours + fmt.Sprintf("\npg_port = %d\npg_database = %s\npg_timeout = 20000\nnats_cluster_listen = off\nprefix = %s\n"+
			"admin_listen = 127.0.0.1:0\nstatus_listen = off\ncluster_listen = 127.0.0.1:0\n", b.server.Port(), b.database, dir)
		var s cpsettings.ControlPlane
		if _, err := settings.Load(&s, settings.Sources{File: b.file(t, "printed.conf", []byte(lines), 0o600)}); err != nil {
			t.Fatal(err)
		}
		for _, one := range app.Doctor(t.Context(), s) {
			if strings.HasPrefix(one.Area, "PostgreSQL") && one.Verdict != finding.OK {
				t.Errorf("%s: %+v", name, one)
			}
			if one.Step == "login" {
				t.Logf("%s: %s", name, one.Fact)
			}
		}
		// Revoked, the client is let in no more once the server has the list.
		certs(t, "revoke", "kong", "--dir", dir)
		list, err := os.ReadFile(filepath.Join(dir, "crl.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.server.Install("crl.pem", list, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := b.server.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		refused := ""
		for _, one := range app.Doctor(t.Context(), s) {
			if one.Step == "login" && one.Verdict == finding.Wrong {
				refused = one.Mend
			}
		}
		if refused != "the certificate in pg_ssl_cert was revoked: issue another one" {
			t.Errorf("%s: a revoked client: %q", name, refused)
		}
	}
}
