package cachestore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

func ring(t testing.TB, fills ...byte) *localkeys.Ring {
	t.Helper()
	var secrets []secret.Bytes
	for _, fill := range fills {
		secrets = append(secrets, secret.Take(bytes.Repeat([]byte{fill}, 32)))
	}
	r, err := localkeys.New(secrets[0], secrets[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func options(t testing.TB, dir string) Options {
	return Options{Disk: 1 << 20, Folder: dir, Keys: ring(t, 1), Node: "acme/prod", Environment: "prod"}
}

// open makes a cache over a disk, without the memory before it, and writes at once what is kept.
func open(t testing.TB, o Options) *Cache {
	t.Helper()
	c := New(o)
	c.WantDisk()
	if o.Disk > 0 && c.disk.Load() == nil {
		t.Fatal("the disk did not open")
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func keep(c *Cache, text string, labels Labels, value []byte) {
	c.Keep(&Entry{Name: sha256.Sum256([]byte(text)), Labels: labels, Value: value, Expires: time.Now().Unix() + 1000, Began: c.Began()}, true)
	if d := c.disk.Load(); d != nil {
		d.drain()
	}
}

func find(c *Cache, text string) (value []byte) {
	name := Name(sha256.Sum256([]byte(text)))
	value, _ = c.Find(&name, true, time.Now().Unix(), nil)
	return value
}

// stores are both tiers, behind the same cache.
func stores(t *testing.T, test func(t *testing.T, c *Cache)) {
	t.Helper()
	for name, o := range map[string]Options{"memory": {Memory: 1 << 20}, "disk": options(t, filepath.Join(t.TempDir(), "cache"))} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, open(t, o)) })
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, c *Cache) {
		if find(c, "a") != nil {
			t.Error("there is something in a new one")
		}
		l := LabelsOf("w", "p", "k")
		keep(c, "a", l, []byte("one"))
		keep(c, "b", LabelsOf("w", "q", "k"), nil)
		keep(c, "a", l, []byte("two"))
		if got := find(c, "a"); string(got) != "two" {
			t.Errorf("found %q", got)
		}
		var seen []string
		c.Each("k", func(_ string, value []byte) bool { seen = append(seen, string(value)); return true })
		if len(seen) != 2 {
			t.Errorf("by their key: %q", seen)
		}
		name := Name(sha256.Sum256([]byte("a")))
		if got, _ := c.Find(&name, true, time.Now().Unix()+1000, nil); got != nil {
			t.Errorf("what is over is found: %q", got)
		}
	})
}

func TestPurges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mark Mark
		left string
	}{
		"all":          {Mark{ID: "1"}, "other"},
		"a plugin":     {Mark{ID: "1", Plugin: "p"}, "q other"},
		"a key":        {Mark{ID: "1", Key: "k"}, "p q other"},
		"another key":  {Mark{ID: "1", Plugin: "q", Key: "k"}, "pk p q other"},
		"another work": {Mark{ID: "1", Plugin: "x"}, "pk p q other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stores(t, func(t *testing.T, c *Cache) {
				keep(c, "pk", LabelsOf("w", "p", "k"), []byte("1"))
				keep(c, "p", LabelsOf("w", "p", "l"), []byte("1"))
				keep(c, "q", LabelsOf("w", "q", "l"), []byte("1"))
				keep(c, "other", LabelsOf("v", "p", "m"), []byte("1"))
				keep(c, "anybody's", LabelsOf("", "p", "k"), []byte("1"))
				began := c.Began()
				mark := test.mark
				mark.Workspace = "w"
				c.Hold("w", []Mark{mark})
				left := func() string {
					var left []string
					for _, text := range []string{"pk", "p", "q", "other"} {
						if find(c, text) != nil {
							left = append(left, text)
						}
					}
					return strings.Join(left, " ")
				}
				if got := left(); got != test.left {
					t.Errorf("left are %q, want %q", got, test.left)
				}
				if purged := find(c, "anybody's") == nil; purged != (mark.Plugin == "" || mark.Plugin == "p") {
					t.Errorf("what nobody knows the workspace of is purged: %v", purged)
				}
				c.Keep(&Entry{Name: sha256.Sum256([]byte("late")), Value: []byte("x"), Expires: time.Now().Unix() + 100, Began: began}, true)
				if d := c.disk.Load(); d != nil {
					d.drain()
				}
				if find(c, "late") != nil {
					t.Error("what was asked for before the purge was kept after it")
				}
				keep(c, "pk", LabelsOf("w", "p", "k"), []byte("2"))
				c.Hold("w", []Mark{mark})
				if find(c, "pk") == nil {
					t.Error("a purge was done twice")
				}
			})
		})
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := New(Options{Memory: 100 << 10})
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			for n := range 500 {
				keep(c, fmt.Sprint(g, n), Labels{}, make([]byte, 100+n))
				if u, _, _ := c.Usage(); u.Bytes > 100<<10+4*(600+itemBytes) { // those that are being counted
					t.Errorf("%d bytes", u.Bytes)
				}
			}
		})
	}
	wait.Wait()
	var count atomic.Int64
	c.memory.each(Labels{}, 0, func(value []byte) bool { count.Add(int64(len(value)) + itemBytes); return true })
	if u, _, _ := c.Usage(); u.Bytes != count.Load() || u.Bytes > 100<<10 || u.Entries == 0 || u.Evicted == 0 {
		t.Errorf("%+v, and %d bytes are there", u, count.Load())
	}
}

func TestOtherKeys(t *testing.T) {
	t.Parallel()
	o := options(t, filepath.Join(t.TempDir(), "cache"))
	c := open(t, o)
	keep(c, "a", Labels{}, []byte("old"))
	c.Rekey(ring(t, 1))
	if string(find(c, "a")) != "old" {
		t.Error("the same keys lost something")
	}
	c.Hold("w", []Mark{{ID: "m", Workspace: "w", Key: "x"}})
	c.Rekey(ring(t, 2, 1))
	if find(c, "a") != nil {
		t.Error("what a former key sealed is found")
	}
	keep(c, "b", Labels{}, []byte("new"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	o.Keys = ring(t, 2)
	c = open(t, o)
	if string(find(c, "b")) != "new" || len(c.done) != 1 {
		t.Errorf("under the new keys alone: %q, purges %v", find(c, "b"), c.done)
	}
	other := o
	other.Node = "acme/test"
	c.Close()
	if c = open(t, other); find(c, "b") != nil {
		t.Error("another environment's node reads it")
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	for name, erase := range map[string]func(c *Cache, dir string) error{
		"open":     func(c *Cache, _ string) error { return c.Erase() },
		"not open": func(c *Cache, dir string) error { c.Close(); return Erase(dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "cache")
			o := options(t, dir)
			o.Memory = 1 << 20
			c := open(t, o)
			keep(c, "a", Labels{}, []byte("x"))
			if err := erase(c, dir); err != nil {
				t.Fatal(err)
			}
			files, _ := os.ReadDir(dir)
			for _, file := range files {
				if file.Name() != lockName {
					t.Errorf("%s is left", file.Name())
				}
			}
			if name == "open" {
				keep(c, "b", Labels{}, []byte("x"))
				if find(c, "a") != nil || find(c, "b") != nil {
					t.Error("it keeps something")
				}
			}
		})
	}
}
