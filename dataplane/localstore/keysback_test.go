package localstore_test

import (
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// Sealing is switched off and on again, each time together with other scoped keys: nothing held is lost.
func TestModesComeAndGoWithKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, held(t, 5))
	if err := s.Replace(base.state(1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for i, step := range []struct {
		mode localstore.Mode
		key  byte
	}{{localstore.Off, 6}, {localstore.Off, 0}, {localstore.AES256GCM, 7}, {localstore.Off, 0}, {localstore.AES256GCM, 0}} {
		o := held(t, step.key)
		o.Mode = step.mode
		s, state := open(t, dir, o)
		if diff := differs(state, 1, base); diff != "" {
			t.Fatalf("step %d, %s: %s", i, step.mode, diff)
		}
		s.Close()
	}
}

// A start under the wrong key of the node's own takes nothing from the next under the right one, remembered keys included.
func TestRememberedKeysComeBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, held(t, 5))
	if err := s.Replace(base.state(1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	wrong := held(t, 6)
	wrong.Holder.(*holder).own = newRing(t, 2)
	s, state := open(t, dir, wrong)
	if state.Version != 0 {
		t.Fatalf("another node's key opens version %d", state.Version)
	}
	s.Close()
	s, state = open(t, dir, held(t, 6)) // the key before is remembered alone
	if diff := differs(state, 1, base); diff != "" {
		t.Fatal(diff)
	}
	s.Close()
	// What the wrong start remembered is under the wrong key, and stays aside.
	if aside, err := filepath.Glob(filepath.Join(dir, "keys.aside-*")); err != nil || len(aside) != 1 {
		t.Errorf("aside: %v, %v", aside, err)
	}
}
