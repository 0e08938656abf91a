package localstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
)

var errWrongHash = errors.New("the entries do not have the hash of the state")

// twoGenerations makes a folder with a standby (versions 1 and 2), a newest generation (version 2) and a
// change in its journal (version 3).
func twoGenerations(t testing.TB, mode localstore.Mode) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, _ := open(t, dir, optionsFor(t, mode))
	steps := []func() error{
		func() error { return s.Replace(base.state(1)) },
		func() error { return s.Append(one) },
		func() error { return s.Replace(base.apply(one).state(2)) },
		func() error { return s.Append(two) },
		s.Close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// versions are the states that a damaged copy of twoGenerations may fall back to.
var versions = map[uint64]model{1: base, 2: base.apply(one), 3: base.apply(one).apply(two)}

// verified has a store find out whether a state is the one that it claims to be.
func verified(o localstore.Options) localstore.Options {
	o.Verify = func(state localstore.State) error {
		if m, known := versions[state.Version]; known && differs(state, state.Version, m) != "" {
			return errWrongHash
		}
		return nil
	}
	return o
}

func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range names(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = data
	}
	return all
}

func folderOf(t testing.TB, all map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// survives opens a damaged folder: the damage is reported, by Open or, for what Open does not read, by
// Check; the state is a whole one; and the store goes on and is whole at the next Open.
func survives(t *testing.T, what string, dir string, mode localstore.Mode) (v uint64) {
	t.Helper()
	s, state, err := localstore.Open(dir, hastily(verified(optionsFor(t, mode))))
	if err != nil {
		t.Fatalf("%s: Open = %v", what, err)
	}
	defer s.Close()
	report := s.Report()
	lost := len(report.Damage) > 0 && strings.Contains(report.Damage[0].Reason, "missing") // nothing to set aside
	v = state.Version
	if m, ok := versions[v]; !ok {
		t.Fatalf("%s: version %d, report %+v", what, v, report)
	} else if diff := differs(state, v, m); diff != "" {
		t.Fatalf("%s: version %d is not whole:\n%s", what, v, diff)
	}
	if report.Status == localstore.Whole {
		if damage, err := s.Check(); v != 3 || err != nil || len(damage) == 0 && report.Torn == 0 {
			t.Fatalf("%s: nobody noticed: version %d, Check = %v, %v", what, v, damage, err)
		}
	} else if len(report.Damage) == 0 || len(report.Aside) == 0 && !lost || report.Rewritten != "damage" {
		t.Fatalf("%s: report = %+v", what, report)
	}
	if err := errors.Join(s.Append(change(9, nil)), s.Close()); err != nil {
		t.Fatalf("%s: going on: %v", what, err)
	}
	again, state, err := localstore.Open(dir, hastily(optionsFor(t, mode)))
	if err != nil {
		t.Fatalf("%s: opening again: %v", what, err)
	}
	defer again.Close()
	if diff := differs(state, 9, versions[v]); diff != "" || again.Report().Status != localstore.Whole {
		t.Fatalf("%s: after going on, report = %+v\n%s", what, again.Report(), diff)
	}
	return v
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			all := files(t, twoGenerations(t, mode))
			reached := map[uint64]int{}
			for name, data := range all {
				step := 1
				switch { // the layouts are the same everywhere
				case mode != localstore.AES256GCM || testing.Short():
					step = 13
				case strings.HasSuffix(name, "1"):
					step = 5
				}
				for i := 0; i < len(data); i += step {
					changed := map[string][]byte{}
					for other, content := range all {
						changed[other] = content
					}
					changed[name] = bytes.Clone(data)
					changed[name][i] ^= 1 << (i % 8)
					dir := folderOf(t, changed)
					v := survives(t, name, dir, mode)
					if v != 3 && name != "journal-0000000000000002" { // the only bytes that say what version 3 is
						t.Errorf("byte %d of %s: version %d", i, name, v)
					}
					reached[v]++
					os.RemoveAll(dir)
				}
			}
			if reached[2] == 0 || reached[3] == 0 {
				t.Errorf("versions fallen back to: %v", reached)
			}
		})
	}
}

func TestLostAndSwappedFiles(t *testing.T) {
	t.Parallel()
	whole := files(t, twoGenerations(t, localstore.AES256GCM))
	const snapshot1, journal1 = "snapshot-0000000000000001", "journal-0000000000000001"
	const snapshot2, journal2 = "snapshot-0000000000000002", "journal-0000000000000002"
	tests := map[string]struct {
		change func(all map[string][]byte)
		want   uint64
	}{
		"newest snapshot is lost":                  {func(all map[string][]byte) { delete(all, snapshot2) }, 3},
		"newest journal is lost":                   {func(all map[string][]byte) { delete(all, journal2) }, 2},
		"newest snapshot is empty":                 {func(all map[string][]byte) { all[snapshot2] = nil }, 3},
		"newest journal is empty":                  {func(all map[string][]byte) { all[journal2] = nil }, 2},
		"standby's journal instead of the newest":  {func(all map[string][]byte) { all[journal2] = all[journal1] }, 2},
		"standby's snapshot instead of the newest": {func(all map[string][]byte) { all[snapshot2] = all[snapshot1] }, 3},
		"newest snapshot and the standby's journal are empty": {
			func(all map[string][]byte) { all[snapshot2], all[journal1] = nil, nil }, 1,
		},
		"newest snapshot is lost and the change after it is damaged": {func(all map[string][]byte) {
			delete(all, snapshot2)
			all[journal2] = bytes.Clone(all[journal2])
			all[journal2][len(all[journal2])-1] ^= 1
		}, 2},
		"bytes after the snapshot": {func(all map[string][]byte) { all[snapshot2] = append(bytes.Clone(all[snapshot2]), 0) }, 3},
		"bytes after the journal": {func(all map[string][]byte) {
			all[journal2] = append(bytes.Clone(all[journal2]), bytes.Repeat([]byte("x"), 99)...)
		}, 3},
		"a frame twice": {func(all map[string][]byte) {
			all[journal2] = append(bytes.Clone(all[journal2]), all[journal2][85:]...)
		}, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := map[string][]byte{}
			for file, data := range whole {
				all[file] = data
			}
			test.change(all)
			if v := survives(t, name, folderOf(t, all), localstore.AES256GCM); v != test.want {
				t.Errorf("version = %d, want %d", v, test.want)
			}
		})
	}
}

func TestATornAppendIsDropped(t *testing.T) {
	t.Parallel()
	whole := files(t, twoGenerations(t, localstore.AES256GCM))
	journal := whole["journal-0000000000000002"]
	for n := 85; n < len(journal); n++ { // the header has 85 bytes
		for _, zeros := range []int{0, 64} {
			if zeros > 0 && n > 85 {
				break // zeros after the start of a frame are damage
			}
			all := map[string][]byte{}
			for file, data := range whole {
				all[file] = data
			}
			all["journal-0000000000000002"] = append(bytes.Clone(journal[:n]), make([]byte, zeros)...)
			dir := folderOf(t, all)
			s, state, err := localstore.Open(dir, optionsFor(t, localstore.AES256GCM))
			if err != nil {
				t.Fatal(err)
			}
			if diff := differs(state, 2, versions[2]); diff != "" {
				t.Fatalf("cut to %d:\n%s", n, diff)
			}
			if r := s.Report(); r.Status != localstore.Whole || int(r.Torn) != n-85+zeros {
				t.Fatalf("cut to %d: report = %+v", n, r)
			}
			if err := errors.Join(s.Append(two), s.Close()); err != nil {
				t.Fatal(err)
			}
			again, state := open(t, dir, optionsFor(t, localstore.AES256GCM))
			wants(t, "appended after the cut", state, 3, versions[3])
			again.Close()
			os.RemoveAll(dir)
		}
	}
}

func TestAnUnopenableStoreIsSetAside(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]struct {
		change  func(o *localstore.Options)
		content func(data []byte) []byte
		kind    fault.Kind
		gone    bool // nothing says that it was ever sealed, and so it is not kept
	}{
		"another key":    {change: func(o *localstore.Options) { o.Keys = newRing(t, 2) }, kind: fault.Unavailable},
		"another node":   {change: func(o *localstore.Options) { o.Node = "default/default/dp-2" }, kind: fault.Corrupt},
		"no key":         {change: func(o *localstore.Options) { o.Mode, o.Keys = localstore.Off, nil }, kind: fault.Unavailable},
		"all files cut":  {content: func(data []byte) []byte { return data[:len(data)/2] }, kind: fault.Corrupt},
		"all files text": {content: func([]byte) []byte { return []byte("hello") }, kind: fault.Corrupt, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := files(t, twoGenerations(t, localstore.AES256GCM))
			before, aside := len(all), 4
			if damage.gone {
				before, aside = 1, 0
			}
			for file, data := range all {
				if damage.content != nil && file != "lock" {
					all[file] = damage.content(data)
				}
			}
			dir, options := folderOf(t, all), optionsFor(t, localstore.AES256GCM)
			if damage.change != nil {
				damage.change(&options)
			}
			s, state := open(t, dir, options)
			r := s.Report()
			if len(slices.Collect(state.Entries)) != 0 || r.Status != localstore.Unopenable || r.Damage[0].Kind != damage.kind || damage.kind == fault.Corrupt && len(r.Aside) != aside || damage.kind != fault.Corrupt && len(r.Aside) != 0 {
				t.Fatalf("report = %+v", r)
			}
			if after := names(t, dir); len(after) != before {
				t.Errorf("files = %v", after)
			}
			if err := s.Append(one); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Append = %v", err)
			}
			if err := errors.Join(s.Replace(base.state(1)), s.Append(one), s.Close()); err != nil {
				t.Fatal(err)
			}
			if r := s.Report(); len(r.Aside) != aside || len(names(t, dir)) != before+2 {
				t.Errorf("aside: %v, files: %v", r.Aside, names(t, dir))
			}
			s, state = open(t, dir, options)
			wants(t, "a new snapshot", state, 2, base.apply(one))
			if r := s.Report(); r.Status != localstore.Whole || r.Damage != nil {
				t.Errorf("report = %+v", r)
			}
		})
	}
}

func TestAWrongHashIsCorruption(t *testing.T) {
	t.Parallel()
	dir := twoGenerations(t, localstore.AES256GCM)
	options := optionsFor(t, localstore.AES256GCM)
	options.Verify = func(state localstore.State) error {
		if state.Version == 3 || len(slices.Collect(state.Entries)) == 0 {
			return errWrongHash
		}
		return nil
	}
	s, state := open(t, dir, options)
	wants(t, "the state before", state, 2, versions[2])
	if r := s.Report(); r.Status != localstore.Recovered || len(r.Damage) != 1 || !strings.Contains(r.Damage[0].Reason, errWrongHash.Error()) {
		t.Errorf("report = %+v", r)
	}
}

// A generation that began with another state than the one before ended in is not taken for its continuation.
func TestAJournalOfAnotherStateLeadsNowhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.AES256GCM))
	other := newModel(entry("routes", "other", "o"))
	for _, step := range []func() error{
		func() error { return s.Replace(base.state(1)) },
		func() error { return s.Replace(other.state(2)) }, // the control plane sent all anew
		func() error { return s.Append(two) },
		s.Close,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "snapshot-0000000000000002")); err != nil {
		t.Fatal(err)
	}
	options := optionsFor(t, localstore.AES256GCM)
	states := map[uint64]model{1: base, 2: other, 3: other.apply(two)}
	var last localstore.State
	options.Verify = func(state localstore.State) error {
		if last = state; differs(state, state.Version, states[state.Version]) != "" {
			return errWrongHash
		}
		return nil
	}
	s, state := open(t, dir, options)
	wants(t, "the state before", state, 1, base)
	wants(t, "what was verified last", last, 1, base)
	if r := s.Report(); r.Status != localstore.Recovered || r.Version != 1 || len(r.Aside) != 1 {
		t.Errorf("report = %+v", r)
	}
}
