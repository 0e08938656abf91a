package cachestore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keepgate/keepgate/shared/durable"
)

const goldenFile = "testdata/disk.golden"

// What was written by an earlier build opens: a folder with two values, one of which was purged.
func TestGolden(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	o := options(t, dir)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		updateGolden(t, o)
	}
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		content, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, o)
	name := goldenName("kept")
	value, _ := c.Find(&name, true, 1_800_000_000, nil)
	purged := goldenName("purged")
	gone, _ := c.Find(&purged, true, 1_800_000_000, nil)
	if string(value) != "a response" || gone != nil || len(c.done) != 1 || c.done["mark"].Key != "k2" {
		t.Errorf("%q, %q, purges %v", value, gone, c.done)
	}
}

func goldenName(text string) (n Name) { copy(n[:], text); return n }

func updateGolden(t *testing.T, o Options) {
	t.Helper()
	o.Folder = filepath.Join(t.TempDir(), "cache")
	c := open(t, o)
	for text, key := range map[string]string{"kept": "k1", "purged": "k2"} {
		c.Keep(&Entry{Name: goldenName(text), Labels: LabelsOf("w", "p", key), Value: []byte("a response"), Expires: 1 << 40}, true)
		c.disk.Load().drain()
	}
	c.Hold("w", []Mark{{ID: "mark", Workspace: "w", Plugin: "p", Key: "k2"}})
	c.Close()
	var b strings.Builder
	files, _ := os.ReadDir(o.Folder)
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(o.Folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if file.Name() != lockName {
			b.WriteString(file.Name() + " " + hex.EncodeToString(content) + "\n")
		}
	}
	if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzPurges(f *testing.F) {
	f.Add(encodePurges(3, map[string]done{"a": {Mark{"a", "w", "p", "k"}, 2}, "b": {Mark{ID: "b"}, 3}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		purges, number, err := decodePurges(b)
		if err != nil {
			return
		}
		again, same, err := decodePurges(encodePurges(number, purges))
		if err != nil || same != number || !maps.Equal(again, purges) {
			t.Errorf("%v became %v, %v", purges, again, err)
		}
	})
}

// A file of anything is read without a panic and gives nothing.
func FuzzSegment(f *testing.F) {
	f.Add([]byte(segmentMagic))
	f.Add(slices.Concat([]byte(segmentMagic), []byte{1}, make([]byte, 24), []byte{0, 81}, make([]byte, 300)))
	dir := f.TempDir()
	o := options(f, dir)
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, segmentName(0))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d := &disk{options: o, keys: o.Keys}
		if s := d.openSegment(path); s != nil {
			t.Error("it opened")
		}
	})
}

// failing is a disk on which what is asked for fails.
type failing struct {
	durable.Disk
	create, write, remove atomic.Bool
}

var errDisk = errors.New("no space left")

func (f *failing) Create(path string, mode fs.FileMode) (durable.File, error) {
	if f.create.Load() {
		return nil, errDisk
	}
	file, err := f.Disk.Create(path, mode)
	return &failingFile{file, f}, err
}

func (f *failing) Remove(path string) error {
	if f.remove.Load() {
		return errDisk
	}
	return f.Disk.Remove(path)
}

type failingFile struct {
	durable.File
	on *failing
}

func (f *failingFile) Write(b []byte) (int, error) {
	if f.on.write.Load() {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, errDisk
	}
	return f.File.Write(b)
}

// A disk that fails costs what it would have kept, is logged once, and is used again later.
func TestADiskThatFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*failing, bool){
		"no new file": func(f *failing, on bool) { f.create.Store(on) },
		"full":        func(f *failing, on bool) { f.write.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk, log := &failing{}, &strings.Builder{}
			o := options(t, filepath.Join(t.TempDir(), "cache"))
			o.FS, o.Log = disk, slog.New(slog.NewTextHandler(log, nil))
			c := open(t, o)
			if name == "full" {
				keep(c, "before", LabelsOf("w", "p", "1"), []byte("before"))
			}
			fail(disk, true)
			for range 3 {
				keep(c, "lost", LabelsOf("w", "p", "1"), []byte("lost"))
				c.disk.Load().rest = patience{}
			}
			if find(c, "lost") != nil || strings.Count(log.String(), "level=ERROR") != 1 {
				t.Errorf("%q, and the log says\n%s", find(c, "lost"), log)
			}
			if name == "full" && string(find(c, "before")) != "before" {
				t.Error("what was there before is gone")
			}
			c.Hold("w", []Mark{{ID: "m", Workspace: "w"}}) // cannot be noted
			if find(c, "before") != nil {
				t.Error("what was purged is found")
			}
			fail(disk, false)
			c.disk.Load().rest = patience{}
			keep(c, "after", LabelsOf("w", "p", "1"), []byte("after"))
			if string(find(c, "after")) != "after" {
				t.Error("it is not used again")
			}
			c.disk.Load().lock.Close()
			o.FS = nil
			c = open(t, o)
			c.Hold("w", []Mark{{ID: "m", Workspace: "w"}})
			if find(c, "before") != nil {
				t.Error("a purge that could not be noted was forgotten")
			}
		})
	}
}

// A purge that could not be noted is noted when the disk takes it again: by then its mark may be gone, with the plugin that it was for.
func TestAPurgeIsNotedLater(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]func(*Cache){
		"with the next configuration": func(c *Cache) { c.Hold("w", nil) },
		"by and by":                   func(c *Cache) { c.tryAgain() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := &failing{}
			o := options(t, filepath.Join(t.TempDir(), "cache"))
			o.FS = disk
			c := open(t, o)
			keep(c, "a", LabelsOf("w", "p", "1"), []byte("a"))
			disk.create.Store(true)
			c.Hold("w", []Mark{{ID: "m", Workspace: "w"}})
			disk.create.Store(false)
			later(c)
			c.disk.Load().lock.Close() // as the end of the process does
			c = open(t, o)
			if c.Hold("w", nil); find(c, "a") != nil {
				t.Error("what was purged is back")
			}
		})
	}
}

// Files that cannot be removed take their room until they can be, and what was purged of them stays purged.
func TestFilesThatStay(t *testing.T) {
	t.Parallel()
	disk, dir := &failing{}, filepath.Join(t.TempDir(), "cache")
	o := options(t, dir)
	o.FS = disk
	c := open(t, o)
	size := func() (size int64) {
		files, _ := os.ReadDir(dir)
		for _, file := range files {
			if info, err := file.Info(); err == nil && strings.HasPrefix(file.Name(), segmentPrefix) {
				size += info.Size()
			}
		}
		return size
	}
	disk.remove.Store(true)
	for n := range 300 {
		c.disk.Load().rest = patience{}
		if keep(c, fmt.Sprint(n), Labels{}, make([]byte, 10_000)); size() > o.Disk {
			t.Fatalf("%d bytes", size())
		}
	}
	disk.remove.Store(false)
	c.disk.Load().rest = patience{}
	if keep(c, "later", Labels{}, []byte("x")); find(c, "later") == nil || size() > o.Disk || c.disk.Load().usage().Bytes != size() {
		t.Errorf("it is not used again, or %d bytes are %d", c.disk.Load().usage().Bytes, size())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	disk.remove.Store(true)
	if err := os.Remove(filepath.Join(dir, purgesName)); err != nil {
		t.Fatal(err)
	}
	c = New(o)
	defer c.Close()
	if c.WantDisk(); c.disk.Load() != nil {
		t.Error("a disk is used that holds what nobody knows the purges of")
	}
}

// A folder that another process has is left alone.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	o.Memory = 1 << 20
	first := open(t, o)
	second := New(o)
	second.WantDisk()
	keep(second, "a", Labels{}, []byte("x"))
	if second.disk.Load() != nil || string(find(second, "a")) != "x" {
		t.Error("the second one has the disk, or keeps nothing")
	}
	keep(first, "b", Labels{}, []byte("y"))
	if string(find(first, "b")) != "y" {
		t.Error("the first one lost it")
	}
}
