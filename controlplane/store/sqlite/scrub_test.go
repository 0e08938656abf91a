package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// Who writes is not held up for as long as a large file takes to be built anew.
func TestRebuildingGivesWayToWriters(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const rows = 20_000
	for _, statement := range []string{
		"CREATE TABLE large (n integer PRIMARY KEY, text text)",
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) INSERT INTO large SELECT n, hex(randomblob(500)) FROM c",
	} {
		if _, err := s.writer.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	writing, stop := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { // one that always waits for its turn
		for {
			if _, err := s.writer.ExecContext(context.WithoutCancel(writing), "UPDATE large SET text = '' WHERE n = 1"); err != nil || writing.Err() != nil {
				written <- err
				return
			}
		}
	}()
	deadline := time.Now().Add(30 * time.Second)
	for err = nil; !errors.Is(err, errWaited); err = s.rebuild(t.Context(), 0) { // a disk may be faster than the watch, once
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("beside a writer: %v, want %v", err, errWaited)
		}
	}
	stop()
	if err := <-written; err != nil {
		t.Errorf("writing beside it: %v", err)
	}
	if err := s.rebuild(t.Context(), 0); err != nil {
		t.Errorf("with nobody beside it: %v", err)
	}
	var count int
	if err := s.reader.QueryRowContext(t.Context(), "SELECT count(*) FROM large").Scan(&count); err != nil || count != rows {
		t.Errorf("%d rows are left of %d, %v", count, rows, err)
	}
	var word string
	if err := s.reader.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&word); err != nil || word != "ok" {
		t.Errorf("the file is %s, %v", word, err)
	}
}
