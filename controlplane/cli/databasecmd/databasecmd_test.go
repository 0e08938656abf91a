package databasecmd

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func open(ctx context.Context, s cpsettings.ControlPlane, readOnly bool) (record.Store, error) {
	return sqlite.Open(ctx, sqlite.Config{Path: s.Database.SQLitePath, ReadOnly: readOnly})
}

// run is keepgate-cp with these arguments.
func run(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	commands, err := Commands(open)
	if err != nil {
		t.Fatal(err)
	}
	root := &cobra.Command{Use: "keepgate-cp", SilenceErrors: true}
	root.AddCommand(commands...)
	root.SetArgs(args)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// Without the settings of the node no other database is made in its place.
func TestMigrateMakesNoDatabaseThatNobodyNamed(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder) // the default prefix is where the command runs, or a place of the system
	for _, name := range []string{"KEEPGATE_DATABASE", "KEEPGATE_PREFIX", "KEEPGATE_SQLITE_PATH", "KONG_DATABASE", "KONG_PREFIX"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	empty := filepath.Join(folder, "empty.conf")
	if err := os.WriteFile(empty, []byte("log_level = info\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "migrate", "up", "--conf", empty); err == nil || !strings.Contains(err.Error(), "--conf") || !strings.Contains(err.Error(), "keepgate.db") {
		t.Errorf("migrate up = %v, want a refusal that names the file and --conf", err)
	}
	file := filepath.Join(folder, "data", "keepgate.db")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file is there: %v", err)
	}
	for _, want := range []string{"from version 0", "nothing to do"} {
		output, err := run(t, "migrate", "up", "--prefix", filepath.Join(folder, "data"))
		if err != nil || !strings.Contains(output, want) {
			t.Errorf("migrate up --prefix = %q, %v, want %q", output, err, want)
		}
	}
	output, err := run(t, "migrate", "status", "--prefix", filepath.Join(folder, "data"))
	if err != nil || !strings.Contains(output, "database version: 1") {
		t.Errorf("migrate status = %q, %v", output, err)
	}
}
