package audit_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/record"
)

// forge continues a chain as somebody would who knows the form and writes the database.
func forge(rows []record.AuditEntry, bodies ...string) []record.AuditEntry {
	forged := slices.Clone(rows)
	for _, body := range bodies {
		e := record.AuditEntry{Node: node, Sequence: 1, At: 1_700_000_000_000, Body: []byte(body)}
		var previous []byte
		if n := len(forged); n > 0 {
			e.Sequence, previous = forged[n-1].Sequence+1, forged[n-1].Hash
		}
		e.Hash = audit.HashOf(cluster, previous, e)
		forged = append(forged, e)
	}
	return forged
}

const forged = `{"actor":{"via":"loopback"},"action":"key.activate","subject":"key/forged"}`

// What was done to a chain while its node was down, or behind its back, is written down by the node, stays
// found, and the chain goes on.
func TestTheNodeNoticesItsOwnChain(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change  func(*memory)
		running bool // the node runs meanwhile
		entries []string
		found   []string
	}{
		"restored from an older copy": {
			func(m *memory) { m.rows = m.rows[:2] }, false,
			[]string{"1 audit.start", "2 test.act", "6 audit.rewound", "7 audit.start", "8 test.act"},
			[]string{"missing 3-5"},
		},
		"restored to nothing": {
			func(m *memory) { m.rows = nil }, false,
			[]string{"6 audit.rewound", "7 audit.start", "8 test.act"},
			[]string{"missing 1-5"},
		},
		"restored while it runs": {
			func(m *memory) { m.rows = m.rows[:2] }, true,
			[]string{"1 audit.start", "2 test.act", "6 audit.rewound", "7 test.act"},
			[]string{"missing 3-5"},
		},
		"an end computed anew": {
			func(m *memory) { m.rows = forge(m.rows[:3], forged, forged) }, false,
			[]string{"1 audit.start", "2 test.act", "3 test.act", "4 key.activate", "5 key.activate", "6 audit.broken", "7 audit.start", "8 test.act"},
			[]string{"rewritten 1-5", "rewritten 6-6"},
		},
		"an end computed anew and longer, while it runs": {
			func(m *memory) { m.rows = forge(m.rows[:3], forged, forged, forged) }, true,
			[]string{"1 audit.start", "2 test.act", "3 test.act", "4 key.activate", "5 key.activate", "6 key.activate", "7 audit.broken", "8 test.act"},
			[]string{"rewritten 1-5", "rewritten 7-7"},
		},
		"entries behind the end, while it runs": {
			func(m *memory) { m.rows = forge(m.rows, forged, forged) }, true,
			[]string{
				"1 audit.start", "2 test.act", "3 test.act", "4 test.act", "5 test.act", "6 key.activate", "7 key.activate", "8 audit.foreign", "9 test.act",
			},
			[]string{"foreign 6-7"},
		},
		"entries behind the end, while it is down": {
			func(m *memory) { m.rows = forge(m.rows, forged) }, false,
			[]string{"1 audit.start", "2 test.act", "3 test.act", "4 test.act", "5 test.act", "6 key.activate", "7 audit.start", "8 test.act"},
			[]string{"unproven 6-6"},
		},
		"the last entry removed": {
			func(m *memory) { m.rows = m.rows[:4] }, false,
			[]string{"1 audit.start", "2 test.act", "3 test.act", "4 test.act", "6 audit.rewound", "7 audit.start", "8 test.act"},
			[]string{"missing 5-5"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, path := &memory{}, headsPath(t)
				log, logged := newLog()
				j := open(t, store, audit.Options{HeadsPath: path, Log: log})
				say(t, j, "a", "b", "c", "d")
				settle(t, j)
				test.change(store)
				if !test.running {
					j = open(t, store, audit.Options{HeadsPath: path, Log: log})
				}
				time.Sleep(time.Minute) // longer than it takes to look again
				done := make(chan struct{})
				go func() {
					defer close(done)
					runFor(t, j, time.Minute)
				}()
				<-done
				say(t, j, "e")
				settle(t, j)
				if diff := cmp.Diff(test.entries, actions(t, store.rows)); diff != "" {
					t.Errorf("entries (-want +got):\n%s", diff)
				}
				var found []string
				for _, f := range verify(t, store, j.Heads()) {
					found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Newest))
				}
				if diff := cmp.Diff(test.found, found); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
				if wrong := !strings.HasPrefix(test.found[0], "unproven"); wrong != (logged.count() > 0) {
					t.Errorf("logged %q", logged.errors)
				}
			})
		})
	}
}

// TestHistories mixes what can happen to a journal in any order. Whatever happens, nothing is lost that was
// acknowledged but by a restore, no place is taken twice, and what is missing is named.
func TestHistories(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "audit-") // hundreds of files, each synced
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	runs := 0
	rapid.Check(t, func(r *rapid.T) {
		runs++
		store, path := &memory{}, fmt.Sprintf("%s/heads-%d", dir, runs)
		j := open(t, store, audit.Options{HeadsPath: path})
		var backup []record.AuditEntry
		acknowledged, restored := map[string]bool{}, false
		for i := range rapid.IntRange(1, 25).Draw(r, "steps") {
			subject := fmt.Sprint("act-", i)
			switch rapid.SampledFrom([]string{"act", "act", "act", "lost", "late", "away", "restart", "crash", "backup", "restore"}).Draw(r, "step") {
			case "act":
				if j.Record(t.Context(), "test.act", subject) == nil {
					acknowledged[subject] = true
				}
			case "lost":
				store.after = true
				_ = j.Record(t.Context(), "test.act", subject)
			case "late":
				store.late = true
				_ = j.Record(t.Context(), "test.act", subject)
			case "away":
				store.before = true
				if j.Record(t.Context(), "test.act", subject) == nil {
					r.Fatal("recorded nowhere")
				}
				store.before = false
			case "restart":
				settle(t, j)
				j = open(t, store, audit.Options{HeadsPath: path})
			case "crash": // what Run does each second was not done
				j = open(t, store, audit.Options{HeadsPath: path})
			case "backup":
				backup = slices.Clone(store.rows)
			case "restore":
				settle(t, j)
				restored = restored || len(backup) < len(store.rows)
				store.rows = slices.Clone(backup)
				clear(acknowledged)
			}
		}
		store.before, store.after, store.late = false, false, false
		say(t, j, "last")
		settle(t, j)
		check(t, r, store, j, acknowledged, restored)
	})
}

func check(t *testing.T, r *rapid.T, store *memory, j *audit.Journal, acknowledged map[string]bool, restored bool) {
	for _, f := range verify(t, store, j.Heads()) {
		if !f.Note() && !(restored && f.Kind == audit.Missing) {
			r.Fatalf("found %+v in %v", f, actions(t, store.rows))
		}
	}
	for i, e := range store.rows {
		body, err := audit.ParseBody(e.Body)
		if err != nil {
			r.Fatal(err)
		}
		delete(acknowledged, body.Subject)
		if i > 0 && e.Sequence <= store.rows[i-1].Sequence {
			r.Fatalf("sequences %d, %d", store.rows[i-1].Sequence, e.Sequence)
		}
	}
	if len(acknowledged) > 0 {
		r.Fatalf("lost: %v", acknowledged)
	}
}

// A journal that cannot keep its heads says so at the start.
func TestOpenNeedsItsFile(t *testing.T) {
	t.Parallel()
	if _, err := audit.Open(t.Context(), &memory{}, node, audit.Options{Cluster: cluster, HeadsPath: "/nowhere/heads"}); err == nil || errors.Is(err, errAway) {
		t.Errorf("Open = %v", err)
	}
	for _, options := range []audit.Options{{}, {Cluster: ""}} {
		if _, err := audit.Open(t.Context(), &memory{}, node, options); err == nil {
			t.Error("a journal of no cluster was opened")
		}
	}
}
