package publish

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// TestEntriesSayTheirWorkspace: whatever belongs to a workspace travels with its id, in a snapshot and in a delta; what belongs to none
// says nothing.
func TestEntriesSayTheirWorkspace(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("workspaces", `{"name":"sales"}`)
	sales, err := e.catalog.Workspace(t.Context(), "sales")
	e.must(err)
	insert := func(name string) {
		t.Helper()
		_, err := e.catalog.Insert(t.Context(), catalog.Address{Table: "services", Workspace: sales}, schema.Document{"name": name, "host": "h"})
		e.must(err)
	}
	insert("before")
	e.insert("services", `{"name":"home","host":"h"}`)
	e.run()
	e.caughtUp()
	insert("after")
	found := map[string]int{}
	for entry := range e.caughtUp().Set.All() {
		placed := &syncv1.Placed{}
		e.must(proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(entry.Body, placed))
		found[entry.Kind+" "+placed.GetWorkspace()]++
	}
	if found["services "+sales] != 2 || found["services default"] != 1 || found["fingerprint_keys "] != 1 || len(found) != 3 {
		t.Errorf("entries by kind and workspace: %v", found)
	}
}
