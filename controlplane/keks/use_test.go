package keks_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

// Every use is in the journal, by its request's uid and the caller, however many come at once and however few entries
// they take.
func TestUsesAreRecorded(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod", UID: "first"}, "seed")
	const calls = 600
	var group sync.WaitGroup
	for i := range calls {
		group.Go(func() {
			u := keks.Use{Name: "prod", UID: fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012d", i), KeyID: made.KeyID}
			if i%3 == 0 {
				if _, _, err := n.keks.Wrap(t.Context(), prod, u, []byte("seed")); err != nil {
					t.Error(err)
				}
			} else if opened, err := n.keks.Unwrap(t.Context(), prod, u, wrapped); err != nil || string(opened) != "seed" {
				t.Errorf("%q, %v", opened, err)
			}
		})
	}
	group.Wait()
	found, entries := map[string]string{}, 0
	for _, body := range n.entries() {
		if body.Action != "kek.use" {
			continue
		}
		entries++
		if body.Actor.Name != prod.Identity || body.Actor.Via != "kms" || body.Actor.Client != prod.Client || body.Subject != "kek/prod" || body.Detail.Value("serial") != "0a" {
			t.Fatalf("an entry is %+v", body)
		}
		for _, operation := range []string{"wrap", "unwrap"} {
			words := strings.Fields(strings.ReplaceAll(body.Detail.Value(operation), ";", ""))
			for _, word := range words {
				if word != made.KeyID {
					found[word] = operation
				}
			}
			if len(words) > 0 && words[0] != made.KeyID {
				t.Fatalf("the key of %v is not named", words)
			}
		}
	}
	if found["first"] != "wrap" || len(found) != calls+1 || entries >= calls {
		t.Errorf("%d uses are in %d entries", len(found), entries)
	}
	for i := range calls {
		want := map[bool]string{true: "wrap", false: "unwrap"}[i%3 == 0]
		if got := found[fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012d", i)]; got != want {
			t.Fatalf("use %d is recorded as %q", i, got)
		}
	}
}

// Trials are in no journal, and so they cannot open what is kept.
func TestTrials(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	before := len(n.entries())
	tried, _ := n.wrap(keks.Use{Name: "prod", Trial: true}, "trial")
	n.opens(keks.Use{Name: "prod", KeyID: made.KeyID, Trial: true}, tried, "trial")
	if after := len(n.entries()); after != before {
		t.Errorf("a trial made %d entries", after-before)
	}
	_, err := n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: made.KeyID}, tried)
	wants(t, err, fault.Invalid)
	kept, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	_, err = n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: made.KeyID, Trial: true}, kept)
	wants(t, err, fault.Invalid)
	n.rotate("prod")
	n.wrap(keks.Use{Name: "prod", KeyID: made.KeyID, Trial: true}, "trial") // of a former key too
}

// faulty is a journal that does not write.
type faulty struct {
	refused []string
	well    bool
	written []string
}

func (f *faulty) Record(_ context.Context, action, subject string, detail ...string) error {
	if f.well {
		f.written = append(f.written, action+" "+subject+" "+strings.Join(detail, " "))
		return nil
	}
	return fault.Newf(fault.Unavailable, "audit.Record", "journal", "no disk")
}

func (f *faulty) Refused(_ context.Context, action, subject string, detail ...string) {
	f.refused = append(f.refused, action+" "+subject+" "+strings.Join(detail, " "))
}

// No entry, no answer.
func TestNoEntryNoAnswer(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	journal := &faulty{}
	dark := keks.New(n.catalog, n.store, journal, keks.Options{})
	opened, err := dark.Unwrap(t.Context(), prod, keks.Use{Name: "prod", UID: "u", KeyID: made.KeyID}, wrapped)
	wants(t, err, fault.Unavailable)
	if opened != nil {
		t.Errorf("it answers %q", opened)
	}
	sealed, _, err := dark.Wrap(t.Context(), prod, keks.Use{Name: "prod", UID: "u"}, []byte("seed"))
	wants(t, err, fault.Unavailable)
	_ = sealed
	_, err = dark.Rotate(t.Context(), "prod")
	wants(t, err, fault.Unavailable)
	wants(t, dark.End(t.Context(), "prod"), fault.Unavailable)
	if s, err := n.keks.Show(t.Context(), "prod"); err != nil || s.KeyID != made.KeyID || len(s.Keys) != 1 {
		t.Errorf("without an entry it changed to %+v, %v", s, err)
	}
	_, err = dark.Unwrap(t.Context(), prod, keks.Use{Name: "prod", UID: "u7", KeyID: made.KeyID}, wrapped[1:])
	wants(t, err, fault.Invalid)
	if len(journal.refused) != 1 || !strings.Contains(journal.refused[0], "u7") || !strings.HasPrefix(journal.refused[0], "kek.refused kek/prod") {
		t.Errorf("refused: %q", journal.refused)
	}
	quiet := keks.New(n.catalog, n.store, journal, keks.Options{Unrecorded: true})
	if opened, err := quiet.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped); err != nil || string(opened) != "seed" {
		t.Errorf("with kms_audit off: %q, %v", opened, err)
	}
}

// While nothing can be written down trials fail too: whoever promises by them stops promising. They find out when it can be again.
func TestTrialsTellOfAJournalThatIsAway(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	journal := &faulty{}
	dark := keks.New(n.catalog, n.store, journal, keks.Options{})
	use := keks.Use{Name: "prod", UID: "u", KeyID: made.KeyID}
	trial := keks.Use{Name: "prod", UID: "canary-1", KeyID: made.KeyID, Trial: true}
	_, _, err := dark.Wrap(t.Context(), prod, trial, []byte("seed"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = dark.Wrap(t.Context(), prod, use, []byte("seed"))
	wants(t, err, fault.Unavailable)
	_, _, err = dark.Wrap(t.Context(), prod, trial, []byte("seed"))
	wants(t, err, fault.Unavailable)
	journal.well = true
	for range 3 {
		if _, _, err = dark.Wrap(t.Context(), prod, trial, []byte("seed")); err != nil {
			t.Fatal(err)
		}
	}
	if len(journal.written) != 1 || !strings.Contains(journal.written[0], "canary-1") {
		t.Errorf("written: %q", journal.written)
	}
}

// A call that is made for several names all of them.
func TestOneCallForSeveral(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	journal := &faulty{well: true}
	told := keks.New(n.catalog, n.store, journal, keks.Options{})
	use := keks.Use{Name: "prod", UID: "u1", Also: []string{"u2", "", "u3"}, KeyID: made.KeyID}
	if _, err := told.Unwrap(t.Context(), prod, use, wrapped); err != nil || len(journal.written) != 1 || !strings.HasSuffix(journal.written[0], made.KeyID+" u1 u2 - u3") {
		t.Errorf("%q, %v", journal.written, err)
	}
	for name, also := range map[string][]string{"one that is odd": {"u2", "u;3"}, "too many": slices.Repeat([]string{"6f9619ff-8b86-d011-b42d-000000000000"}, 200)} {
		use.Also = also
		if _, err := told.Unwrap(t.Context(), prod, use, wrapped); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUseRefuses(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	made := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	tests := map[string]struct {
		use  keks.Use
		kind fault.Kind
	}{
		"no such KEK":        {keks.Use{Name: "test", KeyID: made.KeyID}, fault.NotFound},
		"no such key":        {keks.Use{Name: "prod", KeyID: "prod.2.0011223344556677"}, fault.NotFound},
		"no key named":       {keks.Use{Name: "prod"}, fault.Invalid},
		"a uid with a space": {keks.Use{Name: "prod", KeyID: made.KeyID, UID: "a b"}, fault.Invalid},
		"a uid with a line":  {keks.Use{Name: "prod", KeyID: made.KeyID, UID: "a\nb"}, fault.Invalid},
		"a list as uid":      {keks.Use{Name: "prod", KeyID: made.KeyID, UID: "a;b"}, fault.Invalid},
		"a long uid":         {keks.Use{Name: "prod", KeyID: made.KeyID, UID: strings.Repeat("a", 129)}, fault.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := n.keks.Unwrap(t.Context(), prod, test.use, wrapped)
			wants(t, err, test.kind)
		})
	}
	for _, name := range []string{"", "a.b", "-a", "a b", "a/b", strings.Repeat("a", 64), "6f9619ff-8b86-d011-b42d-00c04fc964ff", "ä"} {
		_, err := n.keks.Create(t.Context(), name, 0)
		wants(t, err, fault.Invalid)
	}
	for _, period := range []time.Duration{time.Hour, -time.Hour, 20 * 365 * 24 * time.Hour} {
		_, err := n.keks.Create(t.Context(), "other", period)
		wants(t, err, fault.Invalid)
	}
	_, err := n.keks.Create(t.Context(), "prod", 0)
	wants(t, err, fault.Conflict)
	_, err = n.keks.Rotate(t.Context(), "test")
	wants(t, err, fault.NotFound)
	wants(t, n.keks.Retire(t.Context(), "prod", "prod.2.0011223344556677", true), fault.NotFound)
	_, err = n.keks.Show(t.Context(), "test")
	wants(t, err, fault.NotFound)
}

// Another node's key is read before it is refused, and two that rotate at once make a line of keys.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	a := newNode(t)
	b := a.beside()
	made := a.create("prod")
	wrapped, _ := b.wrap(keks.Use{Name: "prod"}, "seed")
	a.opens(keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped, "seed")
	second := a.rotate("prod")
	newer, under := a.wrap(keks.Use{Name: "prod"}, "newer")
	b.opens(keks.Use{Name: "prod", KeyID: under}, newer, "newer")
	var group sync.WaitGroup
	for i := range 8 {
		node := []*node{a, b}[i%2]
		group.Go(func() {
			if _, err := node.keks.Rotate(t.Context(), "prod"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	s, err := b.keks.Show(t.Context(), "prod")
	if err != nil || len(s.Keys) != 10 || s.Keys[1].KeyID != second.KeyID {
		t.Fatalf("%d keys, %v", len(s.Keys), err)
	}
	for i, key := range s.Keys {
		if key.Number != uint64(i+1) || (key.State == keks.Active) != (i == 9) {
			t.Errorf("key %d is %+v", i, key)
		}
	}
	a.opens(keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped, "seed")
}

// A KEK that has ended opens nothing, and its name never brings an old key_id back.
func TestEnding(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	first := n.create("prod")
	wrapped, _ := n.wrap(keks.Use{Name: "prod"}, "seed")
	if err := n.keks.End(t.Context(), "prod"); err != nil {
		t.Fatal(err)
	}
	_, err := n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: first.KeyID}, wrapped)
	wants(t, err, fault.Conflict)
	_, _, err = n.keks.Keys(t.Context(), "prod")
	wants(t, err, fault.Conflict)
	_, err = n.keks.Rotate(t.Context(), "prod")
	wants(t, err, fault.Conflict)
	again := n.create("prod")
	if !strings.HasPrefix(again.KeyID, "prod.2.") {
		t.Errorf("after an end comes %s", again.KeyID)
	}
	_, err = n.keks.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: first.KeyID}, wrapped)
	wants(t, err, fault.Conflict)
}

// The metrics name each KEK's age and what was done with it.
func TestMetrics(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.create("prod")
	n.wrap(keks.Use{Name: "prod"}, "seed")
	n.wrap(keks.Use{Name: "prod", Trial: true}, "seed")
	_, _, err := n.keks.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, nil)
	wants(t, err, fault.Invalid)
	text := gathered(t, n.keks)
	for _, line := range []string{
		`keepgate_kek_calls_total{canary="false",kek="prod",operation="wrap",outcome="ok"} 1`,
		`keepgate_kek_calls_total{canary="true",kek="prod",operation="wrap",outcome="ok"} 1`,
		`keepgate_kek_calls_total{canary="false",kek="prod",operation="wrap",outcome="invalid"} 1`,
		`keepgate_kek_keys{kek="prod",state="active"} 1`,
		`keepgate_kek_rotation_advised{kek="prod"} 0`,
		`keepgate_kek_unreadable 0`,
	} {
		if !slices.Contains(strings.Split(text, "\n"), line) {
			t.Errorf("the metrics lack %s:\n%s", line, text)
		}
	}
}
