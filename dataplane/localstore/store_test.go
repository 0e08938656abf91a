package localstore_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

var modes = []localstore.Mode{localstore.AES256GCM, localstore.ChaCha20Poly1305, localstore.Off}

func newRing(t testing.TB, fills ...byte) *localkeys.Ring {
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

func optionsFor(t testing.TB, mode localstore.Mode) localstore.Options {
	return localstore.Options{Mode: mode, Keys: newRing(t, 1), Node: "default/default/dp-1"}
}

func open(t testing.TB, dir string, options localstore.Options) (*localstore.Store, localstore.State) {
	t.Helper()
	s, state, err := localstore.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, state
}

// model is a configuration as the tests hold it.
type model map[localstore.Ref]localstore.Entry

func entry(kind, id, data string) localstore.Entry {
	class := map[string]localkeys.Class{"keys": localkeys.KMS, "values": localkeys.KVM}[kind]
	if class == "" {
		class = localkeys.Contract
	}
	e := localstore.Entry{Kind: kind, ID: id, Class: class, Bytes: []byte(data)}
	if class == localkeys.KVM {
		e.Scope = "prod"
	}
	return e
}

func newModel(entries ...localstore.Entry) model {
	m := model{}
	for _, e := range entries {
		m[localstore.Ref{Kind: e.Kind, ID: e.ID}] = e
	}
	return m
}

// state gives version v of m; the hash is made of the version, so that a mix-up shows.
func (m model) state(v uint64) localstore.State {
	return localstore.State{Epoch: 1, Version: v, Hash: hashOf(v), Entries: maps.Values(m)}
}

func hashOf(v uint64) (hash [32]byte) {
	copy(hash[:], fmt.Sprintf("hash of version %d", v))
	return hash
}

func (m model) apply(c localstore.Change) model {
	next := maps.Clone(m)
	for _, ref := range c.Deletes {
		delete(next, ref)
	}
	for _, e := range c.Puts {
		next[localstore.Ref{Kind: e.Kind, ID: e.ID}] = e
	}
	return next
}

func change(v uint64, puts []localstore.Entry, deletes ...localstore.Ref) localstore.Change {
	return localstore.Change{Epoch: 1, Version: v, Hash: hashOf(v), Puts: puts, Deletes: deletes}
}

// wants fails unless state is version v of m.
func wants(t testing.TB, what string, state localstore.State, v uint64, m model) {
	t.Helper()
	if diff := differs(state, v, m); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func differs(state localstore.State, v uint64, m model) string {
	type plain struct {
		Epoch, Version uint64
		Hash           [32]byte
		Entries        model
	}
	got := plain{state.Epoch, state.Version, state.Hash, newModel(slices.Collect(state.Entries)...)}
	same := func(a, b localstore.Entry) bool {
		return a.Class == b.Class && a.Scope == b.Scope && bytes.Equal(a.Bytes, b.Bytes)
	}
	if got.Epoch == 1 && got.Version == v && got.Hash == hashOf(v) && maps.EqualFunc(got.Entries, m, same) {
		return "" // cmp is far too slow for the tests that come here thousands of times
	}
	return cmp.Diff(plain{1, v, hashOf(v), m}, got)
}

var (
	base = newModel(entry("routes", "a", "route a"), entry("routes", "b", "route b"), entry("keys", "k", "canary-key-k"), entry("values", "v", "value v"))
	one  = change(2, []localstore.Entry{entry("routes", "c", "route c"), entry("keys", "k", "canary-key-k, second")}, localstore.Ref{Kind: "routes", ID: "a"})
	two  = change(3, []localstore.Entry{entry("routes", "big", string(bytes.Repeat([]byte("canary-route "), 2000)))}, localstore.Ref{Kind: "values", ID: "v"})
)

func TestWhatIsAcknowledgedIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			s, state := open(t, dir, optionsFor(t, mode))
			if len(slices.Collect(state.Entries)) != 0 || s.Report().Status != localstore.Fresh {
				t.Fatalf("a new store holds something: %+v", s.Report())
			}
			if err := s.Append(one); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Append without a snapshot = %v", err)
			}
			steps := []struct {
				v    uint64
				m    model
				do   func() error
				name string
			}{
				{1, base, func() error { return s.Replace(base.state(1)) }, "Replace"},
				{2, base.apply(one), func() error { return s.Append(one) }, "Append"},
				{3, base.apply(one).apply(two), func() error { return s.Append(two) }, "second Append"},
				{4, model{}, func() error { return s.Replace(model{}.state(4)) }, "Replace by nothing"},
				{2, model{}.apply(one), func() error { return s.Append(one) }, "Append to nothing"},
			}
			for _, step := range steps {
				if err := step.do(); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s, state = open(t, dir, optionsFor(t, mode))
				wants(t, step.name, state, step.v, step.m)
				r := s.Report()
				if r.Status != localstore.Whole || r.Version != step.v || r.Damage != nil || r.Rewritten != "" {
					t.Errorf("%s: report = %+v", step.name, r)
				}
				if damage, err := s.Check(); err != nil || len(damage) != 0 {
					t.Errorf("%s: Check = %v, %v", step.name, damage, err)
				}
			}
		})
	}
}

func TestOldGenerationsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.AES256GCM))
	for v := range uint64(5) {
		if err := s.Replace(base.state(v)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"journal-0000000000000004", "journal-0000000000000005", "lock", "snapshot-0000000000000004", "snapshot-0000000000000005"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

func TestAFolderHasOneDataPlane(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.Off))
	if _, _, err := localstore.Open(dir, optionsFor(t, localstore.Off)); fault.KindOf(err) != fault.Conflict {
		t.Errorf("second Open = %v, want kind %v", err, fault.Conflict)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, optionsFor(t, localstore.Off))
	if err := s.Replace(base.state(1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Replace after Close = %v", err)
	}
	if err := s.Append(one); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Append after Close = %v", err)
	}
}

func TestOpenRefusesWrongOptions(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]localstore.Options{
		"no mode": {Keys: newRing(t, 1)}, "unknown mode": {Mode: "rot13", Keys: newRing(t, 1)}, "no keys": {Mode: localstore.AES256GCM},
	} {
		if _, _, err := localstore.Open(t.TempDir(), options); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: Open = %v", name, err)
		}
	}
	for text, want := range map[string]localstore.Mode{"on": localstore.AES256GCM, "off": localstore.Off, "chacha20-poly1305": localstore.ChaCha20Poly1305} {
		if mode, err := localstore.ParseMode(text); err != nil || mode != want {
			t.Errorf("ParseMode(%q) = %q, %v", text, mode, err)
		}
	}
}

func TestReplaceRefusesBadStates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.AES256GCM))
	if err := s.Replace(base.state(1)); err != nil {
		t.Fatal(err)
	}
	once := base.state(2)
	used := false
	once.Entries = func(yield func(localstore.Entry) bool) {
		if !used {
			used = true
			yield(entry("routes", "x", "y"))
		}
	}
	unknown := newModel(localstore.Entry{Kind: "x", ID: "y", Class: "secret"}).state(2)
	long := newModel(entry("routes", string(make([]byte, 2000)), "")).state(2)
	for name, state := range map[string]localstore.State{"entries given once": once, "unknown class": unknown, "long id": long} {
		if err := s.Replace(state); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: Replace = %v", name, err)
		}
	}
	if err := s.Append(change(2, []localstore.Entry{{Kind: "x", ID: "y", Class: "secret"}})); fault.KindOf(err) != fault.Invalid {
		t.Errorf("unknown class: Append = %v", err)
	}
	if err := s.Append(one); err != nil { // a refusal harms nothing
		t.Fatal(err)
	}
	s.Close()
	_, state := open(t, dir, optionsFor(t, localstore.AES256GCM))
	wants(t, "after refusals", state, 2, base.apply(one))
}
