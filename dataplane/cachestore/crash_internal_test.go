package cachestore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/shared/localkeys"
)

// promises are what holds at a moment of the script.
type promises struct {
	kept  map[string]bool // were kept and neither purged nor left to give way
	taken map[string]bool // must not be found
	marks []Mark          // that the configuration holds
	done  int             // of them, that Hold has returned for
	keys  *localkeys.Ring
}

func scriptValue(text string) []byte { return bytes.Repeat([]byte(text+" "), 2000/len(text)) }

// script fills three segments and more, purges in between, changes keys, and forgets a purge.
func script(c *Cache, rings [2]*localkeys.Ring, told func(func(*promises))) {
	const workspace = "w"
	put := func(text, key string) {
		told(func(p *promises) { delete(p.taken, text) })
		keep(c, text, LabelsOf(workspace, "p", key), scriptValue(text))
		told(func(p *promises) { p.kept[text] = true })
	}
	hold := func(marks []Mark, takes ...string) {
		told(func(p *promises) {
			p.marks = marks
			for _, text := range takes {
				delete(p.kept, text)
			}
		})
		c.Hold(workspace, marks)
		told(func(p *promises) {
			p.done = len(marks)
			for _, text := range takes {
				p.taken[text] = true
			}
		})
	}
	one, two := Mark{ID: "one", Workspace: workspace, Key: "k1"}, Mark{ID: "two", Workspace: workspace}
	put("a", "k1")
	put("b", "k2")
	hold([]Mark{one}, "a")
	put("c", "k1")
	put("a", "k1") // again
	told(func(p *promises) { p.keys = rings[1]; clear(p.kept) })
	c.Rekey(rings[1])
	put("d", "k1")
	put("e", "k2")
	hold([]Mark{two}, "a", "b", "c", "d", "e")
	for n := range 12 {
		told(func(p *promises) { clear(p.kept) }) // the oldest may give way
		put(fmt.Sprint("f", n), "k3")
	}
	hold(nil)
	put("g", "k1")
}

// revived opens a folder as the next process does, and fails unless it holds what it has to, and takes more.
func revived(t *testing.T, what, dir string, p *promises, warm bool) {
	t.Helper()
	o := crashOptions(t, dir, p.keys)
	o.FS = recorder{steps: new([]step), failAt: -1}
	for range 2 { // the second time over what the first has made of it
		c := New(o)
		c.WantDisk()
		if c.disk.Load() == nil {
			t.Fatalf("%s: the disk is not used", what)
		}
		c.Hold("w", p.marks) // before anything is served
		for _, text := range []string{"a", "b", "c", "d", "e", "f0", "f11", "g"} {
			got := find(c, text)
			switch {
			case got != nil && !bytes.Equal(got, scriptValue(text)):
				t.Fatalf("%s: %s is %.20q", what, text, got)
			case got != nil && p.taken[text]:
				t.Fatalf("%s: %s was purged and is back", what, text)
			case got == nil && warm && p.kept[text]:
				t.Fatalf("%s: %s was kept and is gone", what, text)
			}
		}
		keep(c, "new", LabelsOf("w", "p", "k1"), scriptValue("new"))
		c.Hold("w", p.marks)
		if got := find(c, "new"); !bytes.Equal(got, scriptValue("new")) {
			t.Fatalf("%s: what is kept now is %.20q", what, got)
		}
		if u := c.disk.Load().usage(); u.Bytes > o.Disk {
			t.Fatalf("%s: %d bytes", what, u.Bytes)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func crashOptions(t *testing.T, dir string, keys *localkeys.Ring) Options {
	t.Helper()
	o := options(t, dir)
	o.Disk, o.Keys = 32<<10, keys
	return o
}

func newPromises(keys *localkeys.Ring) *promises {
	return &promises{kept: map[string]bool{}, taken: map[string]bool{}, keys: keys}
}

// kill -9 and loss of power at every step, and within every write: what is found is whole, nothing that a finished purge has taken comes
// back, nobody has to clear a folder, and after kill -9 what was kept is still there.
func TestAnyCrash(t *testing.T) {
	t.Parallel()
	rings := [2]*localkeys.Ring{ring(t, 1), ring(t, 2, 1)}
	var steps []step
	o := crashOptions(t, filepath.Join(t.TempDir(), "cache"), rings[0])
	o.FS = recorder{steps: &steps, failAt: -1}
	script(open(t, o), rings, func(told func(*promises)) { steps = append(steps, step{told: told}) })

	d, p := &replayed{map[string]*inode{}, map[string]*inode{}}, newPromises(rings[0])
	crash := func(what string, hows ...string) {
		for _, how := range hows {
			dir := d.lay(t, how)
			revived(t, what+", lost: "+how, dir, p, how == "")
			os.RemoveAll(filepath.Dir(dir))
		}
	}
	writes := 0
	for i, s := range steps {
		if s.told != nil {
			s.told(p)
			continue
		}
		what := fmt.Sprintf("step %d, %s %s", i, s.do, s.path)
		if s.do == "write" {
			writes++
			for _, n := range []int{0, 1, 8, 60, 119, 120, 121, len(s.data) / 2, len(s.data) - 1} { // how far it got
				if n < 0 || n >= len(s.data) {
					continue
				}
				before := *d.names[s.path]
				d.replay(step{do: "write", path: s.path, data: s.data[:n]})
				crash(fmt.Sprintf("%s, %d bytes of %d", what, n, len(s.data)), "")
				*d.names[s.path] = before
			}
		}
		d.replay(s)
		crash(what, "", "no content", "no name", "nothing")
	}
	if writes < 25 || len(d.names) < 4 {
		t.Errorf("only %d writes and %d files", writes, len(d.names))
	}
}

// Any one step that fails: requests are served, and the next process finds nothing that was purged.
func TestAnyStepThatFails(t *testing.T) {
	t.Parallel()
	rings := [2]*localkeys.Ring{ring(t, 1), ring(t, 2, 1)}
	for at, last := 0, false; !last; at++ {
		var steps []step
		p := newPromises(rings[0])
		o := crashOptions(t, filepath.Join(t.TempDir(), "cache"), rings[0])
		o.FS = recorder{steps: &steps, failAt: at}
		c := New(o)
		c.WantDisk()
		script(c, rings, func(told func(*promises)) {
			told(p)
			if d := c.disk.Load(); d != nil {
				d.rest = patience{}
			}
		})
		for text := range p.taken {
			if find(c, text) != nil {
				t.Errorf("step %d failed: %s was purged and is found", at, text)
			}
		}
		if d := c.disk.Load(); d != nil {
			d.lock.Close() // as the end of the process does
		}
		revived(t, fmt.Sprintf("after step %d failed, %s %s", at, steps[min(at, len(steps)-1)].do, steps[min(at, len(steps)-1)].path), o.Folder, p, false)
		last = at > 0 && len(steps) <= at
	}
}
