package members_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func sole(store members.Store, id string) *members.Members {
	return node(store, id, members.Options{Sole: true})
}

func TestASoleNodeRefusesToBeTheSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		first := start(t, sole(store, "a"))
		var log bytes.Buffer
		began := time.Now()
		err := node(store, "b", members.Options{Sole: true, Log: logTo(&log)}).Join(t.Context())
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fmt.Sprint(err), "node a on host-a is using it") {
			t.Errorf("Join = %v", err)
		}
		if took := time.Since(began); took < 15*time.Second || took > 20*time.Second {
			t.Errorf("it waited for %v", took)
		}
		if strings.Count(log.String(), "waiting for it to end") != 1 {
			t.Errorf("%s", log.String())
		}
		later(time.Minute)
		expectLive(t, first.Members, "a")
		if !first.Alive() {
			t.Error("the first node was disturbed")
		}
	})
}

func TestASoleNodeWaits(t *testing.T) {
	tests := map[string]struct {
		leave  func(first *life)
		within time.Duration
	}{
		"for one that crashed": {nil, 17 * time.Second},
		"for one that leaves":  {func(first *life) { first.end() }, 4 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := newTable()
				if test.leave == nil {
					joined(t, sole(store, "a"))
				} else {
					first := start(t, sole(store, "a"))
					time.AfterFunc(2*time.Second, func() { test.leave(first) })
				}
				began := time.Now()
				second := sole(store, "b")
				joined(t, second)
				if took := time.Since(began); took == 0 || took > test.within {
					t.Errorf("it took %v", took)
				}
				expectLive(t, second, "b")
			})
		})
	}
}

func TestASoleNodeGoesOnAfterACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		joined(t, sole(store, "a"))
		began := time.Now()
		joined(t, sole(store, "a"))
		if took := time.Since(began); took != 0 {
			t.Errorf("a node waited %v for its own lease", took)
		}
	})
}

// TestASoleNodeRespectsOneItCannotBelieve: a node with another key file proves itself with another key.
func TestASoleNodeRespectsOneItCannotBelieve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		foreign := members.New(store, key("another key file"), "cluster-1", func() members.Say { return members.Say{Node: "z"} }, members.Options{Sole: true})
		start(t, foreign)
		if err := sole(store, "b").Join(t.Context()); fault.KindOf(err) != fault.Conflict {
			t.Errorf("Join = %v", err)
		}
	})
}

func TestASoleNodeEndsWhenAnotherHasCome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		first := start(t, sole(store, "a"))
		other := start(t, node(store, "b", members.Options{}))
		later(6 * time.Second)
		if err := first.ended(t); fault.KindOf(err) != fault.Conflict || !strings.Contains(fmt.Sprint(err), "has taken the database") {
			t.Errorf("Run = %v", err)
		}
		if !other.Alive() {
			t.Error("the other node ended")
		}
	})
}

// TestSoleNodesAtTheSameInstant: at most one stays, and one does in the end.
func TestSoleNodesAtTheSameInstant(t *testing.T) {
	for round := range 20 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				store := newTable()
				store.slow = 200 * time.Millisecond
				var stayed atomic.Int32
				var all sync.WaitGroup
				for n := range 4 {
					all.Go(func() {
						m := sole(store, fmt.Sprint("node-", n))
						err := m.Join(t.Context())
						switch {
						case err == nil:
							stayed.Add(1)
							run(t, m)
						case fault.KindOf(err) != fault.Conflict:
							t.Error(err)
						}
					})
				}
				all.Wait()
				later(10 * time.Second)
				if left := live(t, sole(store, "x")); stayed.Load() != 1 || len(left) != 1 {
					t.Errorf("%d nodes stayed, %v live", stayed.Load(), left)
				}
			})
		})
	}
}

// failing is a database that is away from the third reading of leases on.
type failing struct {
	*table
	readings int
}

func (f *failing) Leases(ctx context.Context) ([]record.Lease, error) {
	if f.readings++; f.readings >= 3 {
		return nil, fault.Newf(fault.Unavailable, "fake", "", "it is away")
	}
	return f.table.Leases(ctx)
}

// TestACandidateDisturbsNobody: a node that only asks whether it may join does not live, and does not end the
// one that has the database.
func TestACandidateDisturbsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		elsewhere, store := newTable(), newTable()
		if err := sole(&failing{table: elsewhere}, "b").Join(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("Join = %v", err)
		}
		a := start(t, sole(store, "a"))
		for range 4 {
			if err := store.PutLease(t.Context(), "b", elsewhere.body("b")); err != nil {
				t.Fatal(err)
			}
			expectLive(t, a.Members, "a")
			later(5 * time.Second)
		}
		if !a.Alive() {
			t.Error("a candidate ended the node that has the database")
		}
	})
}
