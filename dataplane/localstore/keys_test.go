package localstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

// holder gives one key to all classes, or none, and remembers it and what was remembered.
type holder struct {
	own   *localkeys.Ring
	now   byte // 0: none
	given []localstore.Remembered
}

func (h *holder) Own() localstore.Keys { return h.own }

func (h *holder) Ring(remembered []localstore.Remembered) (localstore.Keys, []localstore.Remembered, error) {
	h.given = remembered
	return ringOf(h.own, h.now, remembered)
}

func ringOf(own *localkeys.Ring, now byte, remembered []localstore.Remembered) (localstore.Keys, []localstore.Remembered, error) {
	chosen, list := map[localkeys.Section]*localkeys.Scoped{}, slices.Clone(remembered)
	if now != 0 {
		key, err := localkeys.NewScoped(secret.Take(bytes.Repeat([]byte{now}, 32)))
		if err != nil {
			return nil, nil, err
		}
		for _, class := range []localkeys.Class{localkeys.Contract, localkeys.KMS, localkeys.KVM} {
			chosen[localkeys.Section{Class: class}] = key
		}
		if !slices.ContainsFunc(list, func(r localstore.Remembered) bool { return r.ID == key.ID() }) {
			list = append(list, localstore.Remembered{ID: key.ID(), Material: key.Material()})
		}
	}
	var former []*localkeys.Scoped
	for _, r := range remembered {
		key, err := localkeys.NewScoped(r.Material)
		if err != nil {
			return nil, nil, err
		}
		former = append(former, key)
	}
	return own.With(chosen, former...), list, nil
}

func held(t testing.TB, now byte) localstore.Options {
	o := optionsFor(t, localstore.AES256GCM)
	o.Keys, o.Holder = nil, &holder{own: newRing(t, 1), now: now}
	return o
}

// rotate goes from one scoped key to another on an open store, as a data plane does.
func rotate(s *localstore.Store, o localstore.Options, next byte, whole func() localstore.State) error {
	h := o.Holder.(*holder)
	remembered := slices.Clone(h.given)
	if h.now != 0 {
		_, list, err := ringOf(h.own, h.now, remembered)
		if err != nil {
			return err
		}
		remembered = list
	}
	h.now = next
	keys, all, err := ringOf(h.own, next, remembered)
	if err != nil {
		return err
	}
	if err := s.Remember(all); err != nil {
		return err
	}
	s.Rekey(keys)
	for range 2 {
		if err := s.Replace(whole()); err != nil {
			return err
		}
	}
	keys, only, err := ringOf(h.own, next, nil)
	if err != nil {
		return err
	}
	if err := s.Remember(only); err != nil {
		return err
	}
	h.given = only
	s.Rekey(keys)
	return nil
}

// Whenever a change of keys is cut short, the newest acknowledged version opens, with the key before and with the next.
func TestARotationCutShortAnywhere(t *testing.T) {
	t.Parallel()
	var steps []step
	o := held(t, 5)
	o.FS = recorder{steps: &steps, failAt: -1}
	s, _ := open(t, t.TempDir(), o)
	m, acked := base, func(v uint64) { steps = append(steps, step{acked: v}) }
	if err := s.Replace(m.state(1)); err != nil {
		t.Fatal(err)
	}
	acked(1)
	for i, next := range []byte{6, 0, 7} {
		v := uint64(2*i + 2)
		puts := change(v, []localstore.Entry{entry("routes", fmt.Sprint(v), "x"), entry("keys", fmt.Sprint(v), "y")})
		if err := s.Append(puts); err != nil {
			t.Fatal(err)
		}
		m = m.apply(puts)
		acked(v)
		if err := rotate(s, o, next, func() localstore.State { return m.state(v) }); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	d, last := &disk{map[string]*inode{}, map[string]*inode{}}, uint64(0)
	crashes, given := 0, []byte{5, 6, 0, 7, 9} // as if one had been given before the start, one that was never used too
	crash := func(what string) {
		for _, powerLost := range []bool{false, true} {
			dir := d.lay(t, powerLost)
			now := given[crashes%len(given)]
			crashes++
			s, state, err := localstore.Open(dir, hastily(held(t, now)))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if r := s.Report(); len(r.Damage) > 0 || state.Version < last {
				t.Fatalf("%s, power lost %v, key %d: version %d of at least %d, %+v", what, powerLost, now, state.Version, last, r)
			}
			s.Close()
			os.RemoveAll(dir)
		}
	}
	for i, s := range steps {
		if s.do == "write" {
			before := d.names[s.path].content
			d.replay(step{do: "write", path: s.path, data: s.data[:len(s.data)/2]})
			if i%3 == 0 {
				crash(fmt.Sprintf("step %d, half written to %s", i, s.path))
			}
			d.names[s.path].content = before
		}
		d.replay(s)
		last = max(last, s.acked)
		crash(fmt.Sprintf("step %d, after %s %s", i, s.do, s.path))
	}
	if last != 6 || len(steps) < 50 {
		t.Errorf("version %d in %d steps", last, len(steps))
	}
}

// Any sequence of appends, snapshots, changes of keys while it runs and while it is down keeps the last version.
func TestNoSequenceOfKeysLosesAVersion(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		key := func() byte { return byte(rapid.IntRange(0, 3).Draw(rt, "key")) }
		o := hastily(held(t, key()))
		s, _, err := localstore.Open(dir, o)
		if err != nil {
			rt.Fatal(err)
		}
		m, v := newModel(entry("routes", "a", "1"), entry("keys", "k", "1"), entry("values", "v", "1")), uint64(1)
		if err := s.Replace(m.state(v)); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"append", "replace", "rotate", "restart"}).Draw(rt, "do") {
			case "append":
				v++
				c := change(v, []localstore.Entry{entry("keys", fmt.Sprint(v%3), fmt.Sprint(v))})
				if err := s.Append(c); err != nil {
					rt.Fatal(err)
				}
				m = m.apply(c)
			case "replace":
				v++
				if err := s.Replace(m.state(v)); err != nil {
					rt.Fatal(err)
				}
			case "rotate":
				if err := rotate(s, o, key(), func() localstore.State { return m.state(v) }); err != nil {
					rt.Fatal(err)
				}
			case "restart":
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				o = hastily(held(t, key()))
				var state localstore.State
				if s, state, err = localstore.Open(dir, o); err != nil {
					rt.Fatal(err)
				}
				if diff := differs(state, v, m); diff != "" || s.Report().Status != localstore.Whole {
					rt.Fatalf("version %d of %d, %+v\n%s", state.Version, v, s.Report(), diff)
				}
			}
		}
		s.Close()
	})
}

// A changed byte of the remembered keys costs at most what they alone open, and needs nobody's hand.
func TestEveryFlippedByteOfRememberedKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := held(t, 5)
	s, _ := open(t, dir, o)
	if err := s.Replace(base.state(1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	all := files(t, dir)
	for at := range all["keys"] {
		copied := files(t, dir)
		copied["keys"] = bytes.Clone(copied["keys"])
		copied["keys"][at] ^= 1 << (at % 8)
		damaged := folderOf(t, copied)
		s, state, err := localstore.Open(damaged, hastily(held(t, 5)))
		if err != nil || s.Report().Status != localstore.Whole {
			t.Fatalf("byte %d: %v", at, err)
		}
		if diff := differs(state, 1, base); diff != "" {
			t.Fatalf("byte %d: %s", at, diff)
		}
		s.Close()
		if at%8 == 0 {
			again, _, err := localstore.Open(damaged, hastily(held(t, 6))) // they were remembered again
			if err != nil || again.Report().Status != localstore.Whole {
				t.Fatalf("byte %d: %v", at, err)
			}
			again.Close()
		}
		os.RemoveAll(damaged)
	}
}

func TestRememberedKeysOfAnotherNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, held(t, 5))
	if err := s.Replace(base.state(1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for name, change := range map[string]func(o *localstore.Options){
		"another key":  func(o *localstore.Options) { o.Holder.(*holder).own = newRing(t, 2) },
		"another name": func(o *localstore.Options) { o.Node = "default/default/dp-2" },
	} {
		o := held(t, 0)
		change(&o)
		copied := folderOf(t, files(t, dir))
		s, state := open(t, copied, o)
		if len(o.Holder.(*holder).given) != 0 || state.Version != 0 {
			t.Errorf("%s: it reads %d keys and version %d", name, len(o.Holder.(*holder).given), state.Version)
		}
		s.Close()
		if aside, err := filepath.Glob(filepath.Join(copied, "keys.aside-*")); err != nil || len(aside) != 1 {
			t.Errorf("%s: aside: %v, %v", name, aside, err)
		}
		if err := localstore.Erase(copied); err != nil {
			t.Fatal(err)
		}
		if left := names(t, copied); !slices.Equal(left, []string{"lock"}) {
			t.Errorf("%s: Erase leaves %v", name, left)
		}
	}
}

// forms are how a text may lie on a disk.
func forms(text string) [][]byte {
	return [][]byte{[]byte(text), []byte(hex.EncodeToString([]byte(text))), []byte(base64.StdEncoding.EncodeToString([]byte(text)))}
}

func mustNotLie(t *testing.T, when, dir string, texts ...string) {
	t.Helper()
	for name, data := range files(t, dir) {
		for _, text := range texts {
			for _, form := range forms(text) {
				if bytes.Contains(data, form) {
					t.Errorf("%s: %q lies in %s", when, text, name)
				}
			}
		}
	}
}

// secrets are entries of every class that cannot be compressed away.
func secrets() (m model, texts []string) {
	m = model{}
	for i, kind := range []string{"routes", "keys", "values"} {
		text := fmt.Sprintf("canary-%d-%s-0123456789", i, kind)
		e := entry(kind, "c", text)
		m[localstore.Ref{Kind: kind, ID: "c"}], texts = e, append(texts, text)
	}
	return m, texts
}

func TestNothingLiesInClear(t *testing.T) {
	t.Parallel()
	m, texts := secrets()
	material := strings.Repeat("\x05", 32)
	dir := t.TempDir()
	o := held(t, 5)
	s, _ := open(t, dir, o)
	look := func(when string) {
		t.Helper()
		mustNotLie(t, when, dir, append([]string{material, strings.Repeat("\x06", 32)}, texts...)...)
	}
	if err := s.Replace(m.state(1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(change(2, slices.Collect(m.state(1).Entries))); err != nil {
		t.Fatal(err)
	}
	look("before")
	if err := rotate(s, o, 6, func() localstore.State { look("during"); return m.state(2) }); err != nil {
		t.Fatal(err)
	}
	look("after")
}

// What was in clear is sealed at the first start that is to seal, the generation before, what was set aside and what was left
// unfinished included; cut short anywhere, the next start finishes it.
func TestClearIsSealed(t *testing.T) {
	t.Parallel()
	m, texts := secrets()
	dir := t.TempDir()
	s, _ := open(t, dir, optionsFor(t, localstore.Off))
	for v := uint64(1); v <= 2; v++ {
		if err := s.Replace(m.state(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Append(change(3, slices.Collect(m.state(1).Entries))); err != nil {
		t.Fatal(err)
	}
	s.Close()
	before := files(t, dir)
	for name, data := range map[string][]byte{
		"snapshot-0000000000000009.aside-20260101T000000.000000000Z": before["snapshot-0000000000000001"],
		"journal-0000000000000009.aside-20260101T000000.000000000Z":  before["journal-0000000000000002"][9:], // its header is damaged
		"journal-0000000000000008.X.tmp":                             before["journal-0000000000000002"],
	} {
		before[name] = data
	}
	if !bytes.Contains(before["journal-0000000000000002"], []byte(texts[1])) {
		t.Fatal("mode off shows no canary: this test can find none")
	}
	usage, err := localstore.Look(folderOf(t, before))
	if values, changes := usage.Clear(); err != nil || values != 6 || changes != 3 || len(usage.ClearFiles) != 2 {
		t.Fatalf("%d values, %d changes and the files %v in clear, %v", values, changes, usage.ClearFiles, err)
	}
	strict := held(t, 5)
	strict.RefuseClear = true
	if _, _, err := localstore.Open(folderOf(t, before), strict); fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "declarative_config_encryption_strict") {
		t.Errorf("strict: Open = %v", err)
	}
	var steps []step
	o := held(t, 5)
	o.FS = recorder{steps: &steps, failAt: -1}
	sealed := folderOf(t, before)
	s, state := open(t, sealed, o)
	if diff := differs(state, 3, m); diff != "" || !s.Report().Migrated {
		t.Fatalf("%+v\n%s", s.Report(), diff)
	}
	s.Close()
	mustNotLie(t, "after", sealed, texts...)
	again, _ := open(t, sealed, strict)
	if again.Report().Status != localstore.Whole {
		t.Errorf("%+v", again.Report())
	}
	again.Close()
	for failAt := range steps {
		var done []step
		o := held(t, 5)
		o.FS = recorder{steps: &done, failAt: failAt}
		cut := folderOf(t, before)
		if s, _, err := localstore.Open(cut, o); err == nil {
			s.Close()
		}
		s, state, err := localstore.Open(cut, hastily(held(t, 6)))
		if err != nil {
			t.Fatalf("failure at step %d: %v", failAt, err)
		}
		if diff := differs(state, 3, m); diff != "" {
			t.Fatalf("failure at step %d: %s", failAt, diff)
		}
		s.Close()
		mustNotLie(t, fmt.Sprintf("failure at step %d", failAt), cut, texts...)
		os.RemoveAll(cut)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := held(t, 5)
	s, _ := open(t, dir, o) // it is used meanwhile
	if err := errors.Join(s.Replace(base.state(1)), s.Append(one)); err != nil {
		t.Fatal(err)
	}
	for _, e := range base.apply(one) {
		section, data, err := localstore.Find(dir, held(t, 5), localstore.Ref{Kind: e.Kind, ID: e.ID})
		if err != nil || section != (localkeys.Section{Class: e.Class, Scope: e.Scope}) || !bytes.Equal(data, e.Bytes) {
			t.Errorf("Find(%s/%s) = %v, %v", e.Kind, e.ID, section, err)
		}
	}
	if _, _, err := localstore.Find(dir, held(t, 5), localstore.Ref{Kind: "routes", ID: "none"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Find = %v", err)
	}
	o = held(t, 6)
	o.Holder.(*holder).own = newRing(t, 2)
	if _, _, err := localstore.Find(dir, o, localstore.Ref{Kind: "routes", ID: "none"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Find without the key = %v", err)
	}
}
