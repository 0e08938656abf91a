package migration_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/migration"
)

func files(names ...string) fs.FS {
	found := fstest.MapFS{"README.md": {}}
	for _, name := range names {
		found[name] = &fstest.MapFile{Data: []byte("SELECT 1;")}
	}
	return found
}

func TestRead(t *testing.T) {
	t.Parallel()
	source := migration.Source{Files: files("0002_second.sql", "0001_first.sql", "0003_third.sql")}
	tests := map[string]struct {
		stored int64
		want   record.Schema
	}{
		"empty":   {0, record.Schema{Known: 3, Pending: []string{"0001_first", "0002_second", "0003_third"}}},
		"behind":  {1, record.Schema{Stored: 1, Known: 3, Pending: []string{"0002_second", "0003_third"}}},
		"current": {3, record.Schema{Stored: 3, Known: 3}},
		"newer":   {4, record.Schema{Stored: 4, Known: 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := source.Read(test.stored)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]fs.FS{
		"no files":        files(),
		"a gap":           files("0001_first.sql", "0003_third.sql"),
		"a number twice":  files("0001_first.sql", "0001_other.sql"),
		"no number":       files("first.sql"),
		"starting beyond": files("0002_second.sql"),
	}
	for name, folder := range tests {
		if got, err := (migration.Source{Files: folder}).Read(0); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
