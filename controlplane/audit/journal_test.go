package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// The chain is stored for ever: its form is frozen. The hashes were computed by another program.
func TestChainGolden(t *testing.T) {
	t.Parallel()
	first := record.AuditEntry{Node: "node-1", Sequence: 1, At: 1_700_000_000_123, Body: []byte(`{"actor":{"via":"node"},"action":"audit.start","subject":"node/node-1"}`)}
	first.Hash = audit.HashOf(cluster, nil, first)
	second := record.AuditEntry{Node: "node-1", Sequence: 2, At: 1_700_000_000_456, Body: []byte(`{}`)}
	second.Hash = audit.HashOf(cluster, first.Hash, second)
	got := []string{fmt.Sprintf("%x", first.Hash), fmt.Sprintf("%x", second.Hash)}
	want := []string{
		"bfc1f49d4e2455c25933d174c010f80ce289536dafecbddece627901afb4dd15",
		"dcc84a1acb97d205032be915d4eaf35f77b4a851facd7bea7ca0752f22e2eb2b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hashes (-want +got):\n%s", diff)
	}
}

// So is what an entry says, in the order in which it was said.
func TestBodyGolden(t *testing.T) {
	t.Parallel()
	store := &memory{}
	j := open(t, store, audit.Options{})
	ctx := audit.WithActor(t.Context(), audit.Actor{Client: "127.0.0.1:4711", Via: "loopback"})
	if err := j.Outcome(ctx, "key.activate", "key/8zgITLQh", "refused", "zeal", "<&>", "force", "0", "empty", ""); err != nil {
		t.Fatal(err)
	}
	const want = `{"actor":{"client":"127.0.0.1:4711","via":"loopback"},"action":"key.activate","subject":"key/8zgITLQh",` +
		`"detail":{"zeal":"<&>","force":"0","empty":""},"outcome":"refused"}`
	got := store.rows[1].Body
	if string(got) != want {
		t.Errorf("body\n%s\nwant\n%s", got, want)
	}
	body, err := audit.ParseBody(got)
	if err != nil || body.Detail.Value("force") != "0" || len(body.Detail) != 3 || body.Detail[0].Name != "zeal" {
		t.Errorf("read back: %+v, %v", body, err)
	}
}

func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		action, subject string
		detail          []string
	}{
		"no action":                   {"", "x", nil},
		"an action with a space":      {"key activate", "x", nil},
		"a long action":               {strings.Repeat("a", 65), "x", nil},
		"a line end":                  {"a", "x\ny", nil},
		"an escape":                   {"a", "x", []string{"k", "\x1b[2J"}},
		"no UTF-8":                    {"a", "\xff", nil},
		"a long value":                {"a", "x", []string{"k", strings.Repeat("v", 8193)}},
		"a name without a value":      {"a", "x", []string{"k"}},
		"a value without a name":      {"a", "x", []string{"", "v"}},
		"more details than are read":  {"a", "x", slices.Repeat([]string{"k", "v"}, 33)},
		"all that is allowed at once": {"a", "x", slices.Repeat([]string{"k", strings.Repeat("v", 1024)}, 32)},
	}
	store := &memory{}
	j := open(t, store, audit.Options{})
	for name, test := range tests {
		if err := j.Record(t.Context(), test.action, test.subject, test.detail...); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "vvvv") {
			t.Errorf("%s: the error quotes the value", name)
		}
	}
	if len(store.rows) != 0 {
		t.Errorf("%d entries were written", len(store.rows))
	}
}

// Callers that wait at the same time share one commit.
func TestCommitsAreShared(t *testing.T) {
	t.Parallel()
	const callers = 100
	synctest.Test(t, func(t *testing.T) {
		store := &memory{hold: make(chan struct{})}
		j := open(t, store, audit.Options{})
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if err := j.Record(t.Context(), "test.act", fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // one writes, all others wait
		close(store.hold)
		wg.Wait()
		if store.commits != 2 || len(store.rows) != callers+1 {
			t.Errorf("%d commits for %d entries", store.commits, len(store.rows))
		}
		clean(t, verify(t, store, nil))
	})
}

// Who waits no longer leaves, and the others go on.
func TestLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memory{hold: make(chan struct{})}
		j := open(t, store, audit.Options{})
		var wg sync.WaitGroup
		wg.Go(func() { say(t, j, "leads") })
		synctest.Wait()
		gone, leave := context.WithCancel(t.Context())
		wg.Go(func() {
			if err := j.Record(gone, "test.act", "leaves"); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() { say(t, j, "stays") })
		synctest.Wait()
		leave()
		synctest.Wait()
		close(store.hold)
		wg.Wait()
		say(t, j, "later")
		var subjects []string
		for _, e := range store.rows {
			body, _ := audit.ParseBody(e.Body)
			subjects = append(subjects, body.Subject)
		}
		if diff := cmp.Diff([]string{"node/node-1", "leads", "stays", "later"}, subjects); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
		clean(t, verify(t, store, nil))
	})
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	store := &memory{before: true}
	if _, err := audit.Open(t.Context(), store, node, audit.Options{Cluster: cluster}); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Open = %v", err)
	}
	store.before = false
	j := open(t, store, audit.Options{})
	store.set(func() { store.before = true })
	if err := j.Record(t.Context(), "test.act", "x"); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Record = %v", err)
	}
	store.set(func() { store.before = false })
	say(t, j, "y")
	if diff := cmp.Diff([]string{"1 audit.start", "2 test.act"}, actions(t, store.rows)); diff != "" {
		t.Error(diff)
	}
	clean(t, verify(t, store, nil))
}

// A commit whose answer is lost does not fork the chain, whether it is there at the next look or comes later.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*memory){
		"and it was committed":    func(m *memory) { m.after = true },
		"and it comes too late":   func(m *memory) { m.late = true },
		"and it never comes":      func(m *memory) { m.late = true; m.landing = nil },
		"and so are two in a row": func(m *memory) { m.after, m.late = true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, logged := newLog()
			store := &memory{}
			j := open(t, store, audit.Options{Log: log, HeadsPath: headsPath(t)})
			say(t, j, "a")
			store.set(func() { lose(store) })
			if err := j.Record(t.Context(), "test.act", "lost"); fault.KindOf(err) != fault.Unavailable {
				t.Fatalf("Record = %v", err)
			}
			if name == "and it never comes" {
				store.set(func() { store.landing = nil })
			}
			if err := j.Record(t.Context(), "test.act", "b"); err != nil && !store.after {
				say(t, j, "b")
			}
			say(t, j, "c")
			settle(t, j)
			clean(t, verify(t, store, j.Heads()))
			if logged.count() > 0 {
				t.Errorf("logged as wrong: %q", logged.errors)
			}
		})
	}
}

func TestGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	store, path := &memory{}, headsPath(t)
	for range 3 {
		j := open(t, store, audit.Options{HeadsPath: path})
		say(t, j, "a", "b")
		settle(t, j)
	}
	want := []string{
		"1 audit.start", "2 test.act", "3 test.act", "4 audit.start", "5 test.act", "6 test.act", "7 audit.start", "8 test.act", "9 test.act",
	}
	if diff := cmp.Diff(want, actions(t, store.rows)); diff != "" {
		t.Error(diff)
	}
	j := open(t, store, audit.Options{HeadsPath: path})
	if findings := verify(t, store, j.Heads()); len(findings) != 0 {
		t.Errorf("found %+v", findings)
	}
}
