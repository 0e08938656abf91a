package publish

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/shared/configset"
)

// The previous key of an environment stays for whoever may need it: who does not hold the new one, and who goes on with
// what its control plane node cannot open.
func TestWhoWaitsForAFingerprintKey(t *testing.T) {
	t.Parallel()
	e, held := versions.New().Of("prod"), map[string]fleet.Held{"nothing": {}}
	var set configset.Set
	for number, id := range []string{"", "old", "new"} {
		if id != "" {
			set = set.Put(configset.Entry{Kind: wire.FingerprintKeys, ID: id, Body: []byte{1}})
		}
		e.Set(&versions.Version{Epoch: 1, Number: uint64(number + 1), Set: set})
		hash := set.Hash()
		held[id] = fleet.Held{Epoch: 1, Version: uint64(number + 1), Hash: hex.EncodeToString(hash[:])}
	}
	another := held["new"]
	another.Epoch = 2
	nodes := []fleet.Status{
		{Name: "has it", Environment: "prod", Held: held["new"]},
		{Name: "has the old one", Environment: "prod", Held: held["old"]},
		{Name: "holds nothing", Environment: "prod", Held: held["nothing"]},
		{Name: "of a former life", Environment: "prod", Held: another},
		{Name: "keeps something", Environment: "prod", Held: held["new"], Kept: fleet.Kept{Entries: 1}},
		{Name: "elsewhere", Environment: "lab", Held: held["old"]},
	}
	want := []string{"has the old one", "of a former life", "keeps something"}
	if diff := cmp.Diff(want, waiting(nodes, "prod", e, "new")); diff != "" {
		t.Errorf("who waits (-want +got):\n%s", diff)
	}
}
