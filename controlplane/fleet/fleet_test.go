package fleet_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
)

// database is a real one that can be away, and counts what is written.
type database struct {
	*sqlite.Store
	away   atomic.Bool
	writes atomic.Int64
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &database{Store: store}
}

func (d *database) PutNode(ctx context.Context, node record.Node) error {
	if d.away.Load() {
		return fault.Newf(fault.Unavailable, "test", "database", "away")
	}
	err := d.Store.PutNode(ctx, node)
	if err == nil {
		d.writes.Add(1)
	}
	return err
}

// start runs a fleet; stop ends it and waits.
func start(t *testing.T, store fleet.Store) (f *fleet.Fleet, stop func()) {
	t.Helper()
	f = fleet.New(store, fleet.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = f.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); run.Wait() })
	t.Cleanup(stop)
	return f, stop
}

func list(t *testing.T, f *fleet.Fleet) map[string]fleet.Status {
	t.Helper()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]fleet.Status{}
	for _, s := range all {
		byID[s.Name+"/"+s.NodeID] = s
	}
	if len(byID) != len(all) {
		t.Fatalf("a data plane is listed twice: %v", all)
	}
	return byID
}

func certificate(name string) fleet.Certificate {
	return fleet.Certificate{Organisation: "default", Environment: "default", Name: name, Serial: "77", Expires: time.Unix(2e9, 0)}
}

func TestWhatIsShownOutlivesTheNode(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	f, stop := start(t, store)
	a := f.Join(certificate("edge"), fleet.Label{NodeID: "a", Labels: map[string]string{"zone": "1"}}, fleet.Held{})
	b := f.Join(certificate("edge"), fleet.Label{NodeID: "b"}, fleet.Held{Epoch: 1, Version: 2, Hash: "00"})
	bad := []fleet.Quarantined{{Kind: "routes", ID: "r", Reason: "bad regex"}}
	a.Acked(fleet.Held{Epoch: 1, Version: 3, Hash: "11"}, bad, fleet.Kept{Entries: 3, Lacking: 1})
	b.Nacked("NACK_REASON_STORAGE: full")
	a.Reported(true, bad, fleet.Kept{Entries: 3, Lacking: 1})
	if n := f.Refusals()["default"]; n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
	before := list(t, f) // one certificate, two nodes: two rows
	if len(before) != 2 || f.Linked() != 2 || before["edge/a"].SyncStatus != fleet.Normal || before["edge/b"].SyncStatus != fleet.Refused {
		t.Fatalf("listed: %+v", before)
	}
	a.Leave()
	b.Leave()
	stop() // writes what is not written yet
	other, _ := start(t, store)
	after := list(t, other)
	for id, s := range before {
		s.Linked, s.Left = false, true
		if diff := cmp.Diff(s, after[id]); diff != "" {
			t.Errorf("%s as another node shows it (-memory +row):\n%s", id, diff)
		}
	}
	if n := store.writes.Load(); n > 4 {
		t.Errorf("%d rows were written for 5 changes within a moment", n)
	}
}

func TestTheLastLinkOfANodeCounts(t *testing.T) {
	t.Parallel()
	f, _ := start(t, newDatabase(t))
	old := f.Join(certificate("edge"), fleet.Label{NodeID: "a", IP: "10.0.0.1"}, fleet.Held{})
	now := f.Join(certificate("edge"), fleet.Label{NodeID: "a", IP: "10.0.0.2"}, fleet.Held{})
	old.IsAhead()
	if s := list(t, f)["edge/a"]; s.IP != "10.0.0.2" || s.SyncStatus != fleet.Unknown || f.Linked() != 1 {
		t.Errorf("shown: %+v", s)
	}
	old.Leave()
	if s := list(t, f)["edge/a"]; !s.Linked || s.IP != "10.0.0.2" {
		t.Errorf("after the old link broke: %+v", s)
	}
	third := f.Join(certificate("edge"), fleet.Label{NodeID: "a", IP: "10.0.0.3"}, fleet.Held{})
	third.Leave()
	if s := list(t, f)["edge/a"]; !s.Linked || s.IP != "10.0.0.2" {
		t.Errorf("after the newer link broke: %+v", s)
	}
	now.Leave()
	if f.Linked() != 0 {
		t.Error("somebody is still linked")
	}
}

// TestACutLinkShowsAtOnce: not after the silence that would tell of it, and on every node.
func TestACutLinkShowsAtOnce(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	f, _ := start(t, store)
	other, _ := start(t, store)
	s := f.Join(certificate("doomed"), fleet.Label{NodeID: "a"}, fleet.Held{})
	await(t, "the row is there", func() bool { return len(list(t, other)) == 1 })
	s.Leave()
	if !list(t, f)["doomed/a"].Left {
		t.Error("the node that cut it shows it as linked")
	}
	await(t, "another node shows it as cut", func() bool { return list(t, other)["doomed/a"].Left })
	f.Join(certificate("doomed"), fleet.Label{NodeID: "a"}, fleet.Held{})
	await(t, "it is linked again", func() bool { return !list(t, other)["doomed/a"].Left })
}

// TestWhoMovedToAnotherNodeIsThere: the node that it left notices later, and does not write over the other's row.
func TestWhoMovedToAnotherNodeIsThere(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	here, stopHere := start(t, store)
	there, stopThere := start(t, store)
	old := here.Join(certificate("edge"), fleet.Label{NodeID: "a"}, fleet.Held{})
	await(t, "the first row is there", func() bool { return len(list(t, there)) == 1 })
	for began := time.Now().Unix(); time.Now().Unix() == began; { // rows know seconds
		time.Sleep(10 * time.Millisecond)
	}
	there.Join(certificate("edge"), fleet.Label{NodeID: "a", Hostname: "moved"}, fleet.Held{})
	await(t, "the second row is there", func() bool {
		nodes, err := store.Nodes(t.Context())
		return err == nil && len(nodes) == 1 && strings.Contains(string(nodes[0].Body), "moved")
	})
	old.Leave()
	if list(t, here)["edge/a"].Left {
		t.Error("it counts as cut where it was linked before")
	}
	stopHere()
	stopThere()
	after, _ := start(t, store)
	if s := list(t, after)["edge/a"]; s.Hostname != "moved" || s.Left {
		t.Errorf("the row: %+v", s)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}

func TestADatabaseThatIsAwayCostsOnlyFreshness(t *testing.T) {
	t.Parallel()
	store := newDatabase(t)
	store.away.Store(true)
	f, stop := start(t, store)
	s := f.Join(certificate("edge"), fleet.Label{NodeID: "a"}, fleet.Held{})
	f.Join(certificate("edge"), fleet.Label{NodeID: "nul", Hostname: "a\x00b"}, fleet.Held{})
	s.Acked(fleet.Held{Version: 9}, nil, fleet.Kept{})
	s.Leave()
	time.Sleep(1200 * time.Millisecond) // one attempt
	if got := list(t, f)["edge/a"]; got.Held.Version != 9 {
		t.Errorf("shown: %+v", got)
	}
	store.away.Store(false)
	stop()
	other, _ := start(t, store)
	if got := list(t, other)["edge/a"]; got.Held.Version != 9 {
		t.Errorf("the row was not written once the database was back: %+v", got)
	}
}

func TestAStatusIsACopy(t *testing.T) {
	t.Parallel()
	f := fleet.New(newDatabase(t), fleet.Options{})
	s := f.Join(certificate("edge"), fleet.Label{NodeID: "a", Labels: map[string]string{"zone": "1"}}, fleet.Held{})
	s.Reported(true, []fleet.Quarantined{{Kind: "routes"}}, fleet.Kept{})
	mine := s.Status()
	mine.Labels["zone"], mine.Quarantined[0].Kind = "2", strings.Repeat("x", 3)
	if again := s.Status(); again.Labels["zone"] != "1" || again.Quarantined[0].Kind != "routes" {
		t.Errorf("a reader changed the session: %+v", again)
	}
}
