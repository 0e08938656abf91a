package localstore_test

import (
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// The folders hold stores that must open for ever: a snapshot of version 1 and a journal with one small and
// one compressed change.
func TestGoldenStoresOpen(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			dir := folderOf(t, files(t, filepath.Join("testdata", "golden", string(mode))))
			options := optionsFor(t, mode)
			options.Keys, options.Node = newRing(t, 0x42), "golden/golden/dp-1"
			s, state := open(t, dir, options)
			wants(t, "golden store", state, 3, versions[3])
			if r := s.Report(); r.Status != localstore.Whole || r.Rewritten != "" || r.Frames != 2 {
				t.Errorf("report = %+v", r)
			}
		})
	}
}
