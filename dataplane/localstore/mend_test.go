package localstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestTheRightKeyFindsTheStateAgain(t *testing.T) {
	t.Parallel()
	dir := twoGenerations(t, localstore.AES256GCM)
	right, wrong := optionsFor(t, localstore.AES256GCM), optionsFor(t, localstore.AES256GCM)
	wrong.Keys = newRing(t, 2)
	for range 2 {
		s, state := open(t, dir, wrong)
		if r := s.Report(); len(slices.Collect(state.Entries)) != 0 || r.Status != localstore.Unopenable {
			t.Fatalf("under another key: %+v", r)
		}
		s.Close()
	}
	s, state := open(t, dir, right)
	wants(t, "under the key it was written with", state, 3, versions[3])
	if r := s.Report(); r.Status != localstore.Whole || len(r.Damage)+len(r.Aside) != 0 {
		t.Errorf("report = %+v", r)
	}
}

func TestAFolderThatWasRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(dir string) error{
		"removed":          os.RemoveAll,
		"removed and made": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, options := filepath.Join(t.TempDir(), "store"), optionsFor(t, localstore.AES256GCM)
			s, _ := open(t, dir, options)
			if err := errors.Join(s.Replace(base.state(1)), remove(dir)); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(one); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Append to a journal that is gone = %v", err)
			}
			if err := errors.Join(s.Replace(base.state(1)), s.Append(one)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := localstore.Open(dir, options); fault.KindOf(err) != fault.Conflict {
				t.Errorf("a second data plane in the folder: %v", err)
			}
			s.Close()
			_, state := open(t, dir, options)
			wants(t, "the folder made again", state, 2, base.apply(one))
		})
	}
}
