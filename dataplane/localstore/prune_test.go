package localstore_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// A process that is killed, or a disk that loses power, while generations under a former key are destroyed: what is left of one is
// neither a damaged file nor a standby.
func TestPruningCutShortAnywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.AES256GCM))
	if err := errors.Join(s.Replace(base.state(1)), s.Append(one), s.Replace(base.apply(one).state(3)), s.Append(change(4, two.Puts))); err != nil {
		t.Fatal(err)
	}
	s.Close()
	rekeyed := optionsFor(t, localstore.AES256GCM)
	rekeyed.Keys = newRing(t, 2, 1)
	d := &disk{map[string]*inode{}, map[string]*inode{}}
	for name, data := range files(t, dir) {
		d.names[name] = &inode{data, data}
	}
	d.replay(step{do: "sync names"})
	var steps []step
	o := rekeyed
	o.FS = recorder{steps: &steps, failAt: -1}
	s, _ = open(t, dir, o)
	s.Close()
	crash := func(what string) {
		for _, powerLost := range []bool{false, true} {
			left := d.lay(t, powerLost)
			s, state := open(t, left, hastily(rekeyed))
			if r := s.Report(); state.Version != 4 || r.Status != localstore.Whole || len(r.Damage) != 0 {
				t.Errorf("%s, power lost %v: version %d, %+v", what, powerLost, state.Version, r)
			}
			if damage, err := s.Check(); err != nil || len(damage) != 0 {
				t.Errorf("%s, power lost %v: Check finds %+v, %v", what, powerLost, damage, err)
			}
			s.Close()
			os.RemoveAll(left)
		}
	}
	overwritten := 0
	for i, s := range steps {
		if s.do == "overwrite" {
			overwritten++
			whole := *d.names[s.path]
			d.replay(step{do: "overwrite", path: s.path, size: s.size, data: s.data[:len(s.data)/2]})
			d.names[s.path].synced = d.names[s.path].content // a disk may have taken what it was not told to
			crash(fmt.Sprintf("step %d, half of %s overwritten", i, s.path))
			*d.names[s.path] = whole
		}
		d.replay(s)
		crash(fmt.Sprintf("step %d, after %s %s", i, s.do, s.path))
	}
	if overwritten != 4 {
		t.Errorf("%d files were overwritten", overwritten)
	}
}
