package localstore_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// clearStore is a store in clear with two generations, and beside it what was set aside and left unfinished.
func clearStore(t *testing.T, m model) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.Off))
	for v := uint64(1); v <= 2; v++ {
		if err := s.Replace(m.state(v)); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(change(v+1, slices.Collect(m.state(1).Entries))); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	all := files(t, dir)
	all["snapshot-0000000000000009.aside-20260101T000000.000000000Z"] = all["snapshot-0000000000000001"]
	all["journal-0000000000000009.aside-20260101T000000.000000000Z"] = all["journal-0000000000000002"]
	all["journal-0000000000000008.X.tmp"] = all["journal-0000000000000002"]
	return all
}

// A process that is killed, or a disk that loses power, while what is in clear is being sealed or destroyed: the next start does
// the rest, also to a file whose beginning was overwritten already.
func TestSealingCutShortAnywhere(t *testing.T) {
	t.Parallel()
	m, _ := secrets()
	clear := clearStore(t, m)
	dir := t.TempDir()
	s, _ := open(t, dir, held(t, 5))
	if err := s.Replace(m.state(3)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	sealed := files(t, dir)
	const aside = "journal-0000000000000009.aside-20260101T000000.000000000Z"
	sealed[aside] = clear[aside]
	for name, test := range map[string]struct {
		before map[string][]byte
		files  int
	}{
		"a store in clear":                         {clear, 7},
		"set aside in clear beside a sealed store": {sealed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if overwritten := sealsAnywhere(t, test.before, m); overwritten != test.files {
				t.Errorf("%d files were overwritten", overwritten)
			}
		})
	}
}

// sealsAnywhere cuts the sealing of a folder short at every step, and says how many files were overwritten.
func sealsAnywhere(t *testing.T, before map[string][]byte, m model) (overwritten int) {
	t.Helper()
	_, texts := secrets()
	var steps []step
	o := held(t, 5)
	o.FS = recorder{steps: &steps, failAt: -1}
	dir := folderOf(t, before)
	s, _ := open(t, dir, o)
	s.Close()
	mustNotLie(t, "after", dir, texts...)

	d := &disk{map[string]*inode{}, map[string]*inode{}}
	for name, data := range before {
		d.names[name] = &inode{data, data}
	}
	d.replay(step{do: "sync names"})
	crash := func(what string) {
		for _, powerLost := range []bool{false, true} {
			what := fmt.Sprintf("%s, power lost %v", what, powerLost)
			dir := d.lay(t, powerLost)
			s, state := open(t, dir, hastily(held(t, 5)))
			if diff := differs(state, 3, m); diff != "" || s.Report().Status != localstore.Whole {
				t.Fatalf("%s: %+v\n%s", what, s.Report(), diff)
			}
			s.Close()
			mustNotLie(t, what, dir, texts...)
			os.RemoveAll(dir)
		}
	}
	for i, s := range steps {
		if s.do == "overwrite" {
			overwritten++
			whole := *d.names[s.path]
			for _, n := range []int{1, 12, len(s.data) / 4} {
				d.replay(step{do: "overwrite", path: s.path, size: s.size, data: s.data[:n]})
				if !bytes.Contains(d.names[s.path].content, []byte(texts[len(texts)-1])) {
					t.Fatalf("step %d: no canary is left in %s: this test can find none", i, s.path)
				}
				for _, down := range []bool{false, true} { // a disk may have taken what it was not told to
					if down {
						d.names[s.path].synced = d.names[s.path].content
					}
					crash(fmt.Sprintf("step %d, %d bytes of %s overwritten, down %v", i, n, s.path, down))
				}
				*d.names[s.path] = whole
			}
		}
		d.replay(s)
		crash(fmt.Sprintf("step %d, after %s %s", i, s.do, s.path))
	}
	return overwritten
}
