package stream_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
)

// between starts a data plane that may link to either of two nodes, and waits until it is linked to one of them.
func between(a, b *controlPlane) (dp *dataPlane, with, other *controlPlane) {
	dp = a.dataPlane(defaultLeaf("edge-1"))
	dp.addresses = []string{a.address, b.address}
	dp.start()
	eventually(a.t, "the data plane links to one node", func() bool { return a.fleet.Linked()+b.fleet.Linked() == 1 && dp.link.Connected() })
	if a.fleet.Linked() == 1 {
		return dp, a, b
	}
	return dp, b, a
}

func TestAMoveToAnotherNodeCostsAWelcome(t *testing.T) {
	t.Parallel()
	a := newControlPlane(t)
	a.service("bob")
	b := a.another(nil)
	dp, with, other := between(a, b)
	with.holds(dp)
	with.wire.sent()
	for range 3 { // there and back again
		with.unlink()
		eventually(t, "the data plane links to the other node", func() bool { return other.fleet.Linked() == 1 })
		other.holds(dp)
		expect(t, other, "a move to another node", "")
		with.link(slog.New(slog.DiscardHandler))
		with, other = other, with
	}
	a.service("carol")
	b.feed.Wake()
	with.holds(dp)
	expect(t, with, "a change after the moves", "D")
}

func TestANodeThatLagsWaitsAndTakesNothingBack(t *testing.T) {
	t.Parallel()
	a := newControlPlane(t).beating(lively)
	a.service("bob")
	b := a.another(func(cp *controlPlane) { cp.poll, cp.patience = time.Hour, time.Hour })
	b.caughtUp()
	dp := a.dataPlane(defaultLeaf("edge-1"))
	dp.addresses = []string{a.address}
	dp.start()
	a.service("carol")
	a.holds(dp)
	held := dp.state()
	dp.stop()
	dp.addresses = []string{b.address} // which has not read as far
	dp.start()
	eventually(t, "the data plane is linked", dp.link.Connected)
	time.Sleep(2 * b.heartbeat)
	if now := dp.state(); now.Version != held.Version || now.Set.Hash() != held.Set.Hash() || dp.log.has("refused") {
		t.Fatal("a node that lags took something back, or tried to")
	}
	expect(t, b, "from a node that lags", "")
	if s := b.status(dp).SyncStatus; s == fleet.Ahead {
		t.Error("a lag is called ahead")
	}
	b.feed.Wake()
	b.holds(dp)
	expect(t, b, "from a node that caught up", "")
	b.service("dave")
	b.holds(dp)
	expect(t, b, "the next change", "D")
}

func TestAnAcceptedRestoreReachesDataPlanesOfOtherNodes(t *testing.T) {
	t.Parallel()
	a := newControlPlane(t)
	a.service("bob")
	b := a.another(nil)
	dp := b.linked("edge-1")
	raised, err := epoch.Raise(t.Context(), a.store)
	a.must(err)
	a.publisher.Reload()
	eventually(t, "the data plane of the other node is in the new epoch", func() bool { return dp.state().Epoch == raised })
	b.holds(dp)
}
