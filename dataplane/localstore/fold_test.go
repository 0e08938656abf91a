package localstore_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// A fold that fails at any step takes nothing of what is acknowledged after it: changes that go on into the journal before are
// not hidden by a snapshot that has got its name all the same.
func TestAFoldThatFailsHidesNothing(t *testing.T) {
	t.Parallel()
	for failAt, failed := 0, 0; ; failAt++ {
		var steps []step
		dir, options := t.TempDir(), optionsFor(t, localstore.AES256GCM)
		options.FS = recorder{steps: &steps, failAt: -1}
		s, _ := open(t, dir, options)
		if err := s.Replace(base.state(1)); err != nil {
			t.Fatal(err)
		}
		before := len(steps)
		s.Close()
		copied := folderOf(t, files(t, dir))
		steps = nil
		options.FS = recorder{steps: &steps, failAt: -1}
		s, _ = open(t, copied, options)
		opened := len(steps)
		s.Close()

		steps = nil
		options.FS = recorder{steps: &steps, failAt: opened + failAt}
		s, _ = open(t, dir, options)
		err := s.Replace(base.state(1))
		if err == nil && len(steps) <= opened+failAt {
			if failed < before/2 {
				t.Errorf("%d failures of a fold of %d steps", failed, before)
			}
			return
		}
		if err != nil {
			failed++
		}
		acked := uint64(1)
		if err := s.Append(one); err == nil {
			acked = 2
		} else if err := s.Replace(base.apply(one).state(2)); err == nil {
			acked = 2
		}
		killed := folderOf(t, files(t, dir))
		holds(t, fmt.Sprintf("failure at step %d of a fold", failAt), killed, acked)
		if acked != 2 {
			t.Errorf("failure at step %d of a fold: nothing is taken afterwards", failAt)
		}
		s.Close()
		os.RemoveAll(killed)
	}
}
