package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestFilesAreClosedToOthers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "keepgate.db")
	store := open(t, sqlite.Config{Path: path})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, filepath.Dir(path)); got != 0o700 {
		t.Errorf("the folder has mode %o", got)
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if got := mode(t, path+suffix); got != 0o600 {
			t.Errorf("keepgate.db%s has mode %o", suffix, got)
		}
	}
}

func TestOpenFileIsTightened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, sqlite.Config{Path: path})
	if got := mode(t, path); got != 0o600 {
		t.Errorf("the file has mode %o", got)
	}
}

// TestOneControlPlane: the lock is the kernel's, so a process that was killed leaves none behind.
func TestOneControlPlane(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	first := open(t, sqlite.Config{Path: path})
	if err := first.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "PostgreSQL") {
		t.Errorf("a second one: %v", err)
	}
	id := uuid.NewString()
	if _, err := first.Apply(t.Context(), record.Batch{Changes: []record.Change{storetest.Workspace(id)}}); err != nil {
		t.Fatal(err)
	}
	looking := open(t, sqlite.Config{Path: path, ReadOnly: true})
	if _, _, err := looking.Raw(t.Context(), "workspaces", id); err != nil {
		t.Errorf("looking beside it: %v", err)
	}
	if err := looking.SwapMeta(t.Context(), "x", nil, "y"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("writing while only looking: %v", err)
	}
}

func TestLockIsFreedByClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	for range 2 {
		store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: path + "x", ReadOnly: true}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("looking at nothing: %v", err)
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	status, err := store.Status(t.Context())
	if err != nil || !status.First() || status.Current() {
		t.Errorf("of an empty file: %+v, %v", status, err)
	}
	if _, err := store.Head(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("reading before migrating: %v", err)
	}
	for range 2 {
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if status, err = store.Status(t.Context()); err != nil || status.First() || !status.Current() {
		t.Errorf("of a migrated file: %+v, %v", status, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO schema_versions (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), sqlite.Config{Path: path})
	version, ok := errors.AsType[*record.VersionError](err)
	if !ok || version.Stored != 9999 || version.Known != status.Known {
		t.Errorf("opening a newer file: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), sqlite.Config{Path: path}); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a file of another kind: %v", err)
	}
}

// TestDeletedIsGone looks for a deleted body in the bytes of the file.
func TestDeletedIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const mark = "deleted-mark"
	row := record.Row{Table: "workspaces", ID: uuid.NewString(), Body: []byte(`{"comment":"` + strings.Repeat(mark, 2000) + `"}`)}
	for _, change := range []func() record.Change{
		func() record.Change { return record.Change{Row: row} },
		func() record.Change {
			stored, err := store.Get(t.Context(), "workspaces", "", row.ID)
			if err != nil {
				t.Fatal(err)
			}
			return record.Change{Row: stored, Delete: true, Expect: stored.Generation}
		},
	} {
		if _, err := store.Apply(t.Context(), record.Batch{Changes: []record.Change{change()}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(mark)) {
		t.Error("the file still holds the deleted row")
	}
	if _, err := os.Stat(path + "-wal"); err == nil {
		t.Error("closing left the log behind")
	}
}

// TestKilled ends a process of its own with SIGKILL while it writes: what it had acknowledged is there.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keepgate.db")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterOfTestKilled$")
	child.Env = append(os.Environ(), "STORE_TO_WRITE="+path)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	buffer := make([]byte, 1)
	for acknowledged < 50 {
		if _, err := output.Read(buffer); err != nil {
			t.Fatalf("after %d writes: %v", acknowledged, err)
		}
		if buffer[0] == '+' {
			acknowledged++
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	store := open(t, sqlite.Config{Path: path})
	head, err := store.Head(t.Context())
	if err != nil || head < uint64(acknowledged) {
		t.Errorf("the head is %d after %d acknowledged writes, %v", head, acknowledged, err)
	}
	rows, err := store.List(t.Context(), record.Query{Table: "workspaces"})
	if err != nil || len(rows) != int(head) {
		t.Errorf("%d rows at revision %d, %v", len(rows), head, err)
	}
}

func TestWriterOfTestKilled(t *testing.T) {
	path := os.Getenv("STORE_TO_WRITE")
	if path == "" {
		return // it runs only as a child of TestKilled
	}
	store := open(t, sqlite.Config{Path: path})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := store.Apply(t.Context(), record.Batch{Changes: []record.Change{storetest.Workspace(uuid.NewString())}}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("+")
	}
}
