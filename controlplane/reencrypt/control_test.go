package reencrypt_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/fault"
)

// Any node says what happens, whichever works.
func TestPauseResumePaceAndCancelFromAnotherNode(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(100)
		before := e.values()
		e.rotate()
		works := e.run("a", reencrypt.Options{Batch: 5})
		e.begin(works, reencrypt.Request{Rate: 20})
		e.await(works, "under way", func(p reencrypt.Progress) bool { return p.Node == "a" && p.Resealed > 0 })
		other := e.run("b", reencrypt.Options{Batch: 5})
		if _, err := other.Start(t.Context(), reencrypt.Request{}); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a second Start = %v, want conflict", err)
		}
		if _, err := other.Resume(t.Context()); fault.KindOf(err) != fault.Conflict {
			t.Errorf("Resume of a running job = %v, want conflict", err)
		}
		if p, err := other.Pause(t.Context()); err != nil || p.State != reencrypt.Paused {
			t.Fatalf("Pause = %+v, %v", p, err)
		}
		p := e.quiet(other)
		if p.State != reencrypt.Paused || p.Resealed == 0 || p.Resealed >= 200 {
			t.Errorf("paused: %+v", p)
		}
		if p, err := other.SetRate(t.Context(), 0); err != nil || p.Rate != 0 {
			t.Errorf("SetRate = %+v, %v", p, err)
		}
		if _, err := other.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := e.awaitDone(other); p.Resealed != 211 {
			t.Errorf("%d rows were written, want each once: 211", p.Resealed)
		}
		e.same(before)
		for action, want := range map[string]int{
			"start to active rate 20": 1, "pause": 1, "pace rate 0": 1, "resume": 1, "takeover": 0, "done": 1, "cancel": 0,
		} {
			if got := e.recorded("reencrypt." + action); got != want {
				t.Errorf("the journal has reencrypt.%s %d times, want %d", action, got, want)
			}
		}
		e.rotate()
		e.begin(works, reencrypt.Request{Rate: 20})
		e.await(works, "under way", func(p reencrypt.Progress) bool { return p.Resealed > 0 })
		if _, err := other.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := e.quiet(other); p.State != reencrypt.Cancelled || p.Ended == 0 {
			t.Errorf("cancelled: %+v", p)
		}
		e.same(before)
		e.begin(other, reencrypt.Request{}) // the place is free again
		e.awaitDone(other)
		e.same(before)
	})
}

// quiet waits until nobody writes any more.
func (e *env) quiet(n *node) reencrypt.Progress {
	e.t.Helper()
	var last map[string]int
	deadline := time.Now().Add(patience)
	for since := time.Now(); time.Since(since) < 300*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if now := e.under(); !cmp.Equal(now, last) {
			last, since = now, time.Now()
		}
		if time.Now().After(deadline) {
			e.t.Fatal("it goes on writing")
		}
	}
	p, _, err := n.Progress(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t, "")
	e.plain()
	off := reencrypt.New(e.store, e.catalog, e.cipher, "a", reencrypt.Options{})
	if _, err := off.Start(t.Context(), reencrypt.Request{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("with the keyring off: %v", err)
	}
	e.start(encryption.Options{Migrate: true})
	job := reencrypt.New(e.store, e.catalog, e.cipher, "a", reencrypt.Options{})
	for name, request := range map[string]reencrypt.Request{
		"another word":           {To: "clear"},
		"plaintext, undeclared":  {To: reencrypt.ToPlaintext},
		"a table that is none":   {Table: "nope"},
		"a table of no secrets":  {Table: "services"},
		"a negative rate":        {Rate: -1},
		"a rate beyond all use":  {Rate: reencrypt.MaxRate + 1},
		"no table by that case":  {Table: "Keyauth_Credentials"},
		"a place to go by quote": {Table: `plugins"; drop table plugins; --`},
	} {
		if _, err := job.Start(t.Context(), request); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: Start = %v, want invalid", name, err)
		}
	}
	if _, found, err := job.Progress(t.Context()); found || err != nil {
		t.Errorf("a refused start left a job (%v)", err)
	}
	if _, err := job.Pause(t.Context()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Pause of nothing = %v, want not found", err)
	}
	e.ring.lose(e.ring.active, true)
	if _, err := job.Start(t.Context(), reencrypt.Request{}); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+e.ring.active {
		t.Errorf("without the active key: Start = %v, want unavailable", err)
	}
}

// A stored job is read by the next version too; testdata/job.golden freezes it.
func TestGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/job.golden")
	if err != nil {
		t.Fatal(err)
	}
	e := newEnv(t, "")
	e.start(encryption.Options{})
	if err := e.store.SwapMeta(t.Context(), "reencrypt_job", nil, strings.TrimSpace(string(text))); err != nil {
		t.Fatal(err)
	}
	job := reencrypt.New(e.store, e.catalog, e.cipher, "a", reencrypt.Options{})
	p, found, err := job.Progress(t.Context())
	if err != nil || !found {
		t.Fatal(err)
	}
	want := reencrypt.Progress{
		State: reencrypt.Paused, ID: "abcdefghijkl", To: "active", Table: "plugins", Workspace: "w", Rate: 7, Node: "n", Writer: "AAAAAAAA",
		Pass: 2, Started: 1, Percent: 60, Speed: 12, Scanned: 9, Resealed: 8, Unreadable: 2, Retried: 1, Waiting: "w", Reason: "r",
		Tables: []reencrypt.Table{{
			Table: "plugins", Stale: 10, Scanned: 9, Resealed: 8, Retried: 1, InPass: 4,
			Unreadable: []reencrypt.Unreadable{{Key: "BBBBBBBB", Reason: "the key is missing", Rows: 2, IDs: []string{"x", "y"}}},
		}},
		Proof: &reencrypt.Proof{
			At: 3, Tables: []reencrypt.Count{{Table: "plugins", Key: "AAAAAAAA", Rows: 4}},
			Keys: []reencrypt.KeyCount{{Key: "AAAAAAAA", Rows: 4, Active: true}}, Clear: 1, Ended: "migration", Files: "f",
		},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := job.SetRate(t.Context(), 7); err != nil { // writes it again
		t.Fatal(err)
	}
	if again, _, _ := e.store.Meta(t.Context(), "reencrypt_job"); again != strings.TrimSpace(string(text)) {
		t.Errorf("it is written as\n%s", again)
	}
}

func TestAJobOfAnotherVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	for text, kind := range map[string]fault.Kind{
		`{"version":2,"state":"running"}`: fault.Denied, `{`: fault.Corrupt, `{"version":"1"}`: fault.Corrupt, `null`: fault.Denied,
	} {
		e := newEnv(t, "")
		e.start(encryption.Options{})
		if err := e.store.SwapMeta(t.Context(), "reencrypt_job", nil, text); err != nil {
			t.Fatal(err)
		}
		job := reencrypt.New(e.store, e.catalog, e.cipher, "a", reencrypt.Options{})
		if _, _, err := job.Progress(t.Context()); fault.KindOf(err) != kind {
			t.Errorf("%s: %v, want %v", text, err, kind)
		}
		if _, err := job.Start(t.Context(), reencrypt.Request{}); fault.KindOf(err) != kind {
			t.Errorf("%s: Start = %v, want %v", text, err, kind)
		}
	}
}
