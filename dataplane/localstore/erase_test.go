package localstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
)

const canary = "canary-in-the-store"

// erasable is a store with a standby, a journal, a file that was set aside and one that was not finished; linked are
// further names of the same files, under which one sees what became of them.
func erasable(t *testing.T, mode localstore.Mode) (s *localstore.Store, dir, linked string) {
	t.Helper()
	dir, linked = t.TempDir(), t.TempDir()
	s, _ = open(t, dir, optionsFor(t, mode))
	for v := uint64(1); v <= 2; v++ {
		if err := s.Replace(newModel(entry("routes", "a", canary), entry("keys", "k", canary)).state(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(change(3, []localstore.Entry{entry("values", "v", canary)})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"snapshot-0000000000000009.aside-20260101T000000.000000000Z", "journal-0000000000000009.X.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(canary), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "foreign"), []byte("somebody else's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name := range files(t, dir) {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(linked, name)); err != nil {
			t.Fatal(err)
		}
	}
	return s, dir, linked
}

func mustBeErased(t *testing.T, mode localstore.Mode, dir, linked string) {
	t.Helper()
	left := files(t, dir)
	delete(left, "lock")
	if len(left) != 1 || string(left["foreign"]) != "somebody else's" {
		t.Errorf("the folder holds %d files", len(left))
	}
	for name, content := range files(t, linked) {
		if bytes.Contains(content, []byte(canary)) {
			t.Errorf("%s can be read", name)
		}
	}
	s, state, err := localstore.Open(linked, optionsFor(t, mode))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if state.Version != 0 || s.Report().Status == localstore.Whole || s.Report().Status == localstore.Recovered {
		t.Errorf("the right key opens version %d of what was erased: %+v", state.Version, s.Report())
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s, dir, linked := erasable(t, mode)
			if err := s.Erase(); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"Replace": s.Replace(newModel().state(4)), "Append": s.Append(change(4, nil)),
			} {
				if fault.KindOf(err) != fault.Unavailable {
					t.Errorf("%s after Erase = %v", what, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			mustBeErased(t, mode, dir, linked)
			if again, _ := open(t, dir, optionsFor(t, mode)); again.Report().Status != localstore.Fresh {
				t.Errorf("a store of the same place is %v", again.Report().Status)
			}
		})
	}
}

func TestEraseWithoutKeys(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		s, dir, linked := erasable(t, mode)
		if err := localstore.Erase(dir); fault.KindOf(err) != fault.Conflict {
			t.Errorf("Erase of a store in use = %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := localstore.Erase(dir); err != nil {
				t.Fatal(err)
			}
		}
		mustBeErased(t, mode, dir, linked)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if err := localstore.Erase(missing); err != nil || dirExists(missing) {
		t.Errorf("Erase of nothing = %v, made it: %v", err, dirExists(missing))
	}
}

func dirExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// After two snapshots nothing needs the key from before, the standby included.
func TestRekey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.AES256GCM))
	m := newModel(entry("routes", "a", "1"))
	if err := s.Replace(m.state(1)); err != nil {
		t.Fatal(err)
	}
	s.Rekey(newRing(t, 2, 1))
	if err := s.Append(change(2, []localstore.Entry{entry("keys", "k", "2")})); err != nil {
		t.Fatal(err)
	}
	opens := func(dir string, fill ...byte) (localstore.Report, uint64) {
		t.Helper()
		options := optionsFor(t, localstore.AES256GCM)
		options.Keys = newRing(t, fill...)
		store, state, err := localstore.Open(dir, options)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		return store.Report(), state.Version
	}
	copied := func() string { return folderOf(t, files(t, dir)) }
	if report, version := opens(copied(), 2, 1); report.Status != localstore.Whole || version != 2 {
		t.Errorf("under both keys: version %d, %+v", version, report)
	}
	for v := uint64(3); v <= 4; v++ {
		if err := s.Replace(m.state(v)); err != nil {
			t.Fatal(err)
		}
	}
	if report, version := opens(copied(), 2); report.Status != localstore.Whole || version != 4 || report.Rewritten != "" {
		t.Errorf("under the new key: version %d, %+v", version, report)
	}
	all := files(t, dir)
	newest := ""
	for name := range all {
		if strings.HasPrefix(name, "snapshot-") && name > newest {
			newest = name
		}
	}
	all[newest] = all[newest][:10]
	if report, version := opens(folderOf(t, all), 2); report.Status != localstore.Recovered || version != 3 {
		t.Errorf("the standby under the new key: version %d, %+v", version, report)
	}
}

// Of generations that were pruned nothing opens any more, for someone who finds their bytes on the disk and has the keys.
func TestPrunedFilesCannotBeOpened(t *testing.T) {
	t.Parallel()
	for _, mode := range []localstore.Mode{localstore.AES256GCM, localstore.ChaCha20Poly1305} {
		dir, linked := t.TempDir(), t.TempDir()
		s, _ := open(t, dir, optionsFor(t, mode))
		if err := errors.Join(s.Replace(base.state(1)), s.Append(one)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"snapshot-0000000000000001", "journal-0000000000000001"} {
			if err := os.Link(filepath.Join(dir, name), filepath.Join(linked, name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, state := open(t, folderOf(t, files(t, linked)), optionsFor(t, mode)); state.Version != 2 {
			t.Fatalf("%v: the bytes hold version %d before", mode, state.Version)
		}
		if err := errors.Join(s.Replace(base.state(3)), s.Replace(base.state(4))); err != nil {
			t.Fatal(err)
		}
		if !dirExists(filepath.Join(dir, "snapshot-0000000000000003")) || dirExists(filepath.Join(dir, "snapshot-0000000000000001")) {
			t.Fatalf("%v: the first generation is not pruned", mode)
		}
		for _, name := range []string{"snapshot-0000000000000001", "journal-0000000000000001"} {
			data, err := os.ReadFile(filepath.Join(linked, name))
			if err != nil || len(data) < 100 || bytes.Trim(data[:100], "\x00") != nil {
				t.Errorf("%v: %s begins with %d bytes that are no zeros, %v", mode, name, len(bytes.Trim(data[:100], "\x00")), err)
			}
		}
		if again, state := open(t, linked, optionsFor(t, mode)); state.Version != 0 {
			t.Errorf("%v: version %d opens, %+v", mode, state.Version, again.Report())
		}
	}
}
