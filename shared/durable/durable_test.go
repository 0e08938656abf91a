package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

var errDisk = errors.New("the disk is on strike")

// striking is the real disk, except that its n-th step fails, a write after its first half.
type striking struct {
	durable.Disk
	steps    *[]string
	failAt   int
	shortNil bool // a short write without an error, against the contract of io.Writer
}

type strikingFile struct {
	durable.File
	on striking
}

func (s striking) step(name string) error {
	*s.steps = append(*s.steps, name)
	if len(*s.steps)-1 == s.failAt {
		return errDisk
	}
	return nil
}

func (s striking) Create(path string, mode fs.FileMode) (durable.File, error) {
	if err := s.step("create"); err != nil {
		return nil, err
	}
	file, err := s.Disk.Create(path, mode)
	return strikingFile{file, s}, err
}

func (s striking) Append(path string, mode fs.FileMode) (durable.File, error) {
	if err := s.step("open"); err != nil {
		return nil, err
	}
	file, err := s.Disk.Append(path, mode)
	return strikingFile{file, s}, err
}

func (s striking) Rename(from, to string) error {
	if err := s.step("rename"); err != nil {
		return err
	}
	return s.Disk.Rename(from, to)
}

func (s striking) SyncDir(path string) error {
	if err := s.step("sync folder"); err != nil {
		return err
	}
	return s.Disk.SyncDir(path)
}

func (f strikingFile) Write(data []byte) (int, error) {
	if err := f.on.step("write"); err != nil {
		n, _ := f.File.Write(data[:len(data)/2])
		if f.on.shortNil {
			err = nil
		}
		return n, err
	}
	return f.File.Write(data)
}

func (f strikingFile) Sync() error {
	if err := f.on.step("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f strikingFile) Truncate(size int64) error {
	if err := f.on.step("truncate"); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f strikingFile) Close() error {
	return errors.Join(f.on.step("close"), f.File.Close())
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReplaceTakesTheseSteps(t *testing.T) {
	t.Parallel()
	path, steps := filepath.Join(t.TempDir(), "file"), []string{}
	on := striking{steps: &steps, failAt: -1}
	if err := durable.ReplaceOn(on, path, 0o600, text("new")); err != nil {
		t.Fatal(err)
	}
	want := []string{"create", "write", "sync", "close", "rename", "sync folder"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v", info.Mode(), err)
	}
}

func TestAFailedReplaceKeepsTheOldContent(t *testing.T) {
	t.Parallel()
	for step := range 6 {
		t.Run(fmt.Sprintf("step %d", step), func(t *testing.T) {
			t.Parallel()
			dir, steps := t.TempDir(), []string{}
			path := filepath.Join(dir, "file")
			if err := durable.Replace(path, 0o600, text("old")); err != nil {
				t.Fatal(err)
			}
			err := durable.ReplaceOn(striking{steps: &steps, failAt: step}, path, 0o600, text("new"))
			if !errors.Is(err, errDisk) || fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != path {
				t.Errorf("ReplaceOn = %v", err)
			}
			want := "old"
			if steps[len(steps)-1] == "sync folder" { // renamed, only its durability is in doubt
				want = "new"
			}
			if got := content(t, path); got != want {
				t.Errorf("content after a failed %s = %q, want %q", steps[len(steps)-1], got, want)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%d files left, %v", len(entries), err)
			}
		})
	}
}

func TestReplaceHandsOnTheWritersFault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	err := durable.Replace(path, 0o600, func(io.Writer) error { return fault.New(fault.Invalid, "x.Y", "", io.EOF) })
	if fault.KindOf(err) != fault.Invalid || !errors.Is(err, io.EOF) {
		t.Errorf("Replace = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
}

func TestALogAppendsAndDropsATail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for _, open := range []struct {
		size   int64
		append string
		want   string
	}{{durable.KeepAll, "one,", "one,"}, {durable.KeepAll, "two,torn", "one,two,torn"}, {8, "three", "one,two,three"}} {
		log, err := durable.OpenLog(path, 0o600, open.size)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Append([]byte(open.append)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(log.Close(), log.Close()); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != open.want {
			t.Errorf("content = %q, want %q", got, open.want)
		}
		if err := log.Append(nil); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Append after Close = %v", err)
		}
	}
}

func TestAFailurePoisonsTheLog(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]striking{
		"write":                        {failAt: 5}, // after open, sync, sync folder and one append of two steps
		"sync":                         {failAt: 6},
		"short write without an error": {failAt: 5, shortNil: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, steps := filepath.Join(t.TempDir(), "log"), []string{}
			on.steps = &steps
			log, err := durable.OpenLogOn(on, path, 0o600, durable.KeepAll)
			if err != nil {
				t.Fatal(err)
			}
			if err := log.Append([]byte("good,")); err != nil {
				t.Fatal(err)
			}
			if err := log.Append([]byte("lost")); fault.KindOf(err) != fault.Unavailable || err == nil {
				t.Fatalf("Append = %v at %v", err, steps)
			}
			done := len(steps)
			if err := log.Append([]byte("more")); err == nil || !strings.Contains(err.Error(), "earlier append failed") {
				t.Errorf("Append to a poisoned log = %v", err)
			}
			if len(steps) != done {
				t.Errorf("a poisoned log touched the disk: %v", steps[done:])
			}
			if got := content(t, path); !strings.HasPrefix(got, "good,") || strings.Contains(got, "more") {
				t.Errorf("content = %q", got)
			}
		})
	}
}

func TestAnUnsettledLogDoesNotOpen(t *testing.T) {
	t.Parallel()
	for step := range 4 { // open, truncate, sync, sync folder
		path, steps := filepath.Join(t.TempDir(), "log"), []string{}
		if _, err := durable.OpenLogOn(striking{steps: &steps, failAt: step}, path, 0o600, 0); !errors.Is(err, errDisk) {
			t.Errorf("OpenLog with a failing %s = %v", steps[len(steps)-1], err)
		}
	}
}

func TestWriteFileAndAbsent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.Absent(path); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"one", "another"} {
		if err := durable.WriteFile(path, 0o640, []byte(text)); err != nil || content(t, path) != text {
			t.Errorf("WriteFile = %v, holds %q", err, content(t, path))
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if err := durable.Absent(filepath.Dir(path)+"/none", path); err == nil || err.Error() != path+" is there already: nothing was changed" {
		t.Errorf("Absent = %v", err)
	}
}
