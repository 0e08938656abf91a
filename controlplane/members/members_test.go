package members_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestNodesComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		var log bytes.Buffer
		a := start(t, node(store, "a", members.Options{Log: logTo(&log)}))
		expectLive(t, a.Members, "a")
		b := start(t, node(store, "b", members.Options{}))
		expectLive(t, a.Members, "a", "b")
		later(10 * time.Minute)
		expectLive(t, b.Members, "a", "b")
		b.end()
		if !errors.Is(b.err, context.Canceled) {
			t.Errorf("Run = %v", b.err)
		}
		expectLive(t, a.Members, "a")
		if b.Alive() || !a.Alive() {
			t.Errorf("alive: a %t, b %t", a.Alive(), b.Alive())
		}
		crashed := node(store, "c", members.Options{})
		if err := crashed.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		later(14 * time.Second)
		expectLive(t, a.Members, "a", "c")
		later(time.Second)
		expectLive(t, a.Members, "a")
		if crashed.Alive() {
			t.Error("a node counts itself as living after its lease is over")
		}
		all, err := a.All(t.Context())
		if err != nil || len(all) != 2 || all[1].Live || all[1].Hostname != "host-c" || all[1].Age != 15*time.Second {
			t.Errorf("%+v, %v", all, err)
		}
		store.set(func(d *table) { d.rows["c"] = row{time.Now().Add(-25 * time.Hour), d.rows["c"].body} })
		later(time.Hour)
		if all, err = a.All(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("a node gone for a day is still listed: %+v, %v", all, err)
		}
		a.end()
		if text := log.String(); strings.Count(text, "lives beside") != 2 || strings.Count(text, "is gone") != 2 {
			t.Errorf("%s", text)
		}
	})
}

func TestWhatANodeSaysIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		say := members.Say{
			Node: "a", Name: "first", Hostname: "h", Version: "1.2.3", Address: "h:8005", Started: 12, Strategy: "cluster",
			Sequence: 7, Holds: []string{"8zgITLQh"}, Joined: true, CertificateExpires: 99,
		}
		a := members.New(store, shared, "cluster-1", func() members.Say { return say }, members.Options{})
		if err := a.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := node(store, "b", members.Options{})
		expect := func() {
			t.Helper()
			all, err := b.All(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]members.Member{{Say: say, Live: true}}, all); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		expect()
		later(3 * time.Second)
		say.Sequence, say.Holds = 8, append(say.Holds, "another1")
		if err := a.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect()
	})
}

// TestClocks: only the database's clock counts, and it may jump.
func TestClocks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		store.set(func(d *table) { d.clock = -300 * 24 * time.Hour })
		a, b := start(t, node(store, "a", members.Options{})), start(t, node(store, "b", members.Options{}))
		for _, clock := range []time.Duration{time.Hour, -time.Hour} {
			store.set(func(d *table) { d.clock = clock })
			later(6 * time.Second)
			expectLive(t, a.Members, "a", "b")
		}
		crashed := node(store, "c", members.Options{})
		if err := crashed.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectLive(t, b.Members, "a", "b", "c")
		store.set(func(d *table) { d.clock -= time.Hour }) // its lease is of the future now
		later(15 * time.Second)
		expectLive(t, b.Members, "a", "b")
	})
}

func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		var log bytes.Buffer
		a := start(t, node(store, "a", members.Options{Log: logTo(&log)}))
		later(10*time.Second + time.Millisecond)
		store.set(func(d *table) { d.down = fault.Newf(fault.Unavailable, "fake", "", "it is away") })
		later(14 * time.Second)
		if !a.Alive() {
			t.Error("a node gave up while its lease lasted")
		}
		later(time.Second)
		if a.Alive() {
			t.Error("a node that could not renew counts itself as living")
		}
		if _, err := a.All(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("All = %v", err)
		}
		later(time.Hour)
		store.set(func(d *table) { d.down = nil })
		later(time.Second)
		expectLive(t, a.Members, "a")
		if !a.Alive() {
			t.Error("a node did not come back within a second")
		}
		a.end()
		if !strings.Contains(log.String(), "was not renewed") {
			t.Errorf("the log says nothing: %s", log.String())
		}
	})
}

func TestASecondProcessOfANode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		first := start(t, node(store, "a", members.Options{}))
		second := start(t, node(store, "a", members.Options{}))
		later(11 * time.Second)
		if err := first.ended(t); fault.KindOf(err) != fault.Conflict || !strings.Contains(fmt.Sprint(err), "a prefix of its own") {
			t.Errorf("Run = %v", err)
		}
		if err := first.Renew(t.Context()); fault.KindOf(err) != fault.Unavailable || first.Alive() {
			t.Errorf("a node that has left renews: %v", err)
		}
		if err := first.Leave(t.Context()); err != nil { // as the program does that ends for it
			t.Fatal(err)
		}
		expectLive(t, second.Members, "a")
		if !second.Alive() {
			t.Error("the second process ended too")
		}
	})
}

func TestANodeThatDoesNotComeUpLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		other := start(t, node(store, "b", members.Options{}))
		started := node(store, "a", members.Options{})
		if err := started.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectLive(t, other.Members, "a", "b")
		if err := started.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectLive(t, other.Members, "b")
		start(t, node(store, "a", members.Options{}))
		for what, m := range map[string]*members.Members{"left already": started, "never joined": node(store, "a", members.Options{})} {
			if err := m.Leave(t.Context()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		expectLive(t, other.Members, "a", "b")
	})
}

func TestJoinNeedsTheDatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		store.set(func(d *table) { d.down = fault.Newf(fault.Unavailable, "fake", "", "it is away") })
		if err := node(store, "a", members.Options{}).Join(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Join = %v", err)
		}
	})
}

// TestStore keeps leases in a real database.
func TestStore(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "keepgate.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	patient := members.Options{Every: 10 * time.Millisecond, Lasts: time.Hour}
	a, b := start(t, node(store, "a", patient)), start(t, node(store, "b", patient))
	expectLive(t, a.Members, "a", "b")
	b.end()
	expectLive(t, a.Members, "a")
}
