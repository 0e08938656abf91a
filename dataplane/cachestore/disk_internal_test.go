package cachestore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/aead"
)

// What is kept and what was purged is the same after a restart, a killed process included: nothing is done at the end.
func TestARestart(t *testing.T) {
	t.Parallel()
	for _, suite := range []aead.Suite{aead.AES256GCM, aead.ChaCha20Poly1305} {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			o := options(t, filepath.Join(t.TempDir(), "cache"))
			o.Suite = suite
			c := open(t, o)
			keep(c, "kept", LabelsOf("w", "p", "1"), []byte("first"))
			keep(c, "purged", LabelsOf("w", "p", "2"), []byte("second"))
			mark := []Mark{{ID: "m", Workspace: "w", Key: "2"}}
			c.Hold("w", mark)
			keep(c, "later", LabelsOf("w", "p", "2"), []byte("third"))
			c.disk.Load().lock.Close() // as the end of the process does
			c = open(t, o)
			for range 2 {
				if find(c, "purged") != nil || string(find(c, "kept")) != "first" || string(find(c, "later")) != "third" {
					t.Errorf("purged %q, kept %q, later %q", find(c, "purged"), find(c, "kept"), find(c, "later"))
				}
				c.Hold("w", mark) // is known to be done
			}
			c.disk.Load().lock.Close()
			c = open(t, o)
			c.Hold("w", append(mark, Mark{ID: "n", Workspace: "w"})) // came while the node was away
			if find(c, "kept") != nil || find(c, "later") != nil {
				t.Error("a purge that came while the node was away was not done")
			}
		})
	}
}

// What was purged is remembered for workspaces that are heard of later, and forgotten once nobody holds the mark.
func TestPurgesAreForgotten(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	c := open(t, o)
	mark := []Mark{{ID: "m", Workspace: "w"}}
	c.Hold("w", mark)
	keep(c, "a", LabelsOf("w", "p", "1"), []byte("later"))
	c.disk.Load().lock.Close()
	c = open(t, o)
	c.Hold("v", nil)
	c.Hold("w", mark)
	if find(c, "a") == nil {
		t.Error("a purge was done twice")
	}
	c.Hold("w", nil)
	if len(c.done) != 0 {
		t.Errorf("%v is remembered, and nobody holds it", c.done)
	}
}

// A purge that came before the disk was wanted holds for the disk too.
func TestAPurgeBeforeTheDisk(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	c := open(t, o)
	keep(c, "a", LabelsOf("w", "p", "1"), []byte("first"))
	c.disk.Load().lock.Close()
	c = New(o)
	c.Hold("w", []Mark{{ID: "m", Workspace: "w"}})
	c.WantDisk()
	defer c.Close()
	if c.disk.Load() == nil || find(c, "a") != nil {
		t.Error("what was purged is there")
	}
}

// Every byte flipped and every file cut: what is found is what was kept, or nothing.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	o := options(t, dir)
	c := open(t, o)
	want := map[string][]byte{}
	for n := range 3 {
		text := fmt.Sprint("value ", n)
		want[text] = bytes.Repeat([]byte{byte(n)}, 40+n)
		keep(c, text, LabelsOf("w", "p", "1"), want[text])
	}
	c.Hold("w", []Mark{{ID: "m", Workspace: "w", Key: "2"}})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := os.ReadDir(dir)
	whole := map[string][]byte{}
	for _, file := range files {
		whole[file.Name()], _ = os.ReadFile(filepath.Join(dir, file.Name()))
	}
	looks := func(what string, change func(name string, content []byte) []byte) (found int) {
		t.Helper()
		damaged := filepath.Join(t.TempDir(), "cache")
		if err := os.Mkdir(damaged, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range whole {
			if err := os.WriteFile(filepath.Join(damaged, name), change(name, bytes.Clone(content)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := o
		again.Folder = damaged
		c := New(again)
		c.WantDisk()
		defer c.Close()
		for text, value := range want {
			switch got := find(c, text); {
			case got == nil:
			case !bytes.Equal(got, value):
				t.Errorf("%s: %q is %x", what, text, got)
			default:
				found++
			}
		}
		return found
	}
	if found := looks("nothing", func(_ string, content []byte) []byte { return content }); found != len(want) {
		t.Fatalf("unchanged: %d are found", found)
	}
	for name, content := range whole {
		for at := range content {
			found := looks(fmt.Sprint(name, " flipped at ", at), func(other string, content []byte) []byte {
				if other == name {
					content[at] ^= 1
				}
				return content
			})
			if found == len(want) {
				t.Errorf("%s: a byte at %d says nothing", name, at)
			}
			if at%7 == 0 {
				looks(fmt.Sprint(name, " cut to ", at), func(other string, content []byte) []byte {
					if other == name {
						return content[:at]
					}
					return content
				})
			}
		}
	}
}

// Nobody finds a word of what is kept, nor who it is for, on the disk, and the folder is the user's alone.
func TestNothingIsInClear(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	c := open(t, options(t, dir))
	keep(c, "name", LabelsOf("workspace", "canary-plugin", "canary-key"), []byte("canary-value"))
	c.Hold("workspace", []Mark{{ID: "canary-mark", Workspace: "workspace", Plugin: "canary-plugin", Key: "canary"}})
	name := sha256.Sum256([]byte("name"))
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v %v", info.Mode(), err)
	}
	files, _ := os.ReadDir(dir)
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil || bytes.Contains(content, []byte("canary")) || bytes.Contains(content, name[:8]) || strings.Contains(file.Name(), "canary") {
			t.Errorf("%s shows something: %v", file.Name(), err)
		}
	}
}

func TestTheDiskIsBounded(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	o := options(t, dir)
	c := open(t, o)
	keep(c, "used", Labels{}, make([]byte, 1000))
	for n := range 300 {
		keep(c, fmt.Sprint(n), Labels{}, make([]byte, 10_000))
		if find(c, "used") == nil {
			t.Fatalf("what is used all the time is gone after %d", n)
		}
		var size int64
		files, _ := os.ReadDir(dir)
		for _, file := range files {
			if info, err := file.Info(); err == nil && strings.HasPrefix(file.Name(), segmentPrefix) {
				size += info.Size()
			}
		}
		if u := c.disk.Load().usage(); size > o.Disk || u.Bytes != size {
			t.Fatalf("%d bytes, and it says %d", size, u.Bytes)
		}
	}
	if find(c, "299") == nil || find(c, "0") != nil {
		t.Error("the newest is gone, or the oldest is there")
	}
	keep(c, "large", Labels{}, make([]byte, o.Disk))
	if find(c, "large") != nil || find(c, "299") == nil {
		t.Error("what is larger than the disk was kept, or took all")
	}
}

// Values that are small fill the index before the disk; the oldest give way then too.
func TestTheIndexIsBounded(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	c := open(t, o)
	for n := range 3 * int(o.Disk/entryEvery) {
		text := fmt.Sprint(n)
		if keep(c, text, Labels{}, []byte("x")); find(c, text) == nil {
			t.Fatalf("nothing is taken any more after %d", n)
		}
		if u := c.disk.Load().usage(); u.Entries > o.Disk/entryEvery+1 {
			t.Fatalf("%d entries", u.Entries)
		}
	}
}

// As many purges as the configuration holds are remembered; only those that it holds no more make the disk begin anew.
func TestManyPurges(t *testing.T) {
	t.Parallel()
	c := open(t, options(t, filepath.Join(t.TempDir(), "cache")))
	marks := func(from, n int) (list []Mark) {
		for i := range n {
			list = append(list, Mark{ID: fmt.Sprint(from + i), Workspace: "w", Key: "1"})
		}
		return list
	}
	c.Hold("w", marks(0, maxDone+1))
	keep(c, "a", LabelsOf("v", "p", "2"), []byte("x"))
	c.Hold("v", nil)
	if find(c, "a") == nil {
		t.Error("purges that are held took what they are not for")
	}
	c.Hold("w", marks(maxDone+1, 1))
	c.Hold("v", nil)
	if len(c.done) > maxDone+1 {
		t.Errorf("%d purges are remembered", len(c.done))
	}
}

// A large disk is used to the end, with the files that may be open.
func TestALargeDisk(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1 << 20, 1 << 30, 15 << 30, 100 << 30, 200 << 30} {
		d := &disk{limit: limit}
		if size := d.segmentSize(); size*maxSegments < limit || size+midSegment >= maxSegment || size > limit/4 {
			t.Errorf("%d bytes in segments of %d", limit, size)
		}
	}
}
