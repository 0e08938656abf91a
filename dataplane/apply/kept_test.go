package apply_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// keeps records the deltas that are made durable.
type keeps struct {
	node
	appended configset.Delta
	replaced configset.Set
}

func (k *keeps) Replace(s apply.State) error { k.replaced = s.Set; return nil }

func (k *keeps) Append(_ apply.State, delta configset.Delta) error { k.appended = delta; return nil }

// A kept entry has the last form that the node had, whether it comes by delta or by snapshot, and until it is published
// again or deleted.
func TestKeptEntriesHaveTheirLastForm(t *testing.T) {
	t.Parallel()
	entry := func(id, body string) configset.Entry {
		return configset.Entry{Kind: "plugins", ID: id, Body: []byte(body)}
	}
	kept := func(id, shell string) configset.Entry {
		return configset.Entry{Kind: "plugins", ID: id, Body: []byte(shell), Kept: true}
	}
	set := func(list ...configset.Entry) (s configset.Set) {
		for _, e := range list {
			s = s.Put(e)
		}
		return s
	}
	steps := []struct {
		name     string
		snapshot bool
		offered  configset.Set
		want     map[string]string // id to the form that serves; "" for what is lacking
	}{
		{"published", true, set(entry("a", "a1"), entry("b", "b1"), entry("c", "c1")), map[string]string{"a": "a1", "b": "b1", "c": "c1"}},
		{"two are kept", false, set(kept("a", ""), kept("b", "shell"), entry("c", "c1")), map[string]string{"a": "a1", "b": "b1", "c": "c1"}},
		{"changed while it does not open", false, set(kept("a", "other shell"), kept("b", "shell"), entry("c", "c1")), map[string]string{"a": "a1", "b": "b1", "c": "c1"}},
		{"from another node, whole", true, set(kept("a", ""), entry("b", "b2"), kept("c", "")), map[string]string{"a": "a1", "b": "b2", "c": "c1"}},
		{"one that was never here", false, set(kept("a", ""), entry("b", "b2"), kept("c", ""), kept("d", "")), map[string]string{"a": "a1", "b": "b2", "c": "c1", "d": ""}},
		{"deleted while it does not open", false, set(entry("b", "b2"), kept("c", ""), kept("d", "")), map[string]string{"b": "b2", "c": "c1", "d": ""}},
		{"made again under its id", false, set(kept("a", ""), entry("b", "b2"), kept("c", ""), kept("d", "")), map[string]string{"a": "", "b": "b2", "c": "c1", "d": ""}},
		{"all open", false, set(entry("a", "a3"), entry("b", "b2"), entry("c", "c1"), entry("d", "d1")), map[string]string{"a": "a3", "b": "b2", "c": "c1", "d": "d1"}},
	}
	k := &keeps{}
	a := apply.New(k, k)
	offered := configset.Set{}
	for i, step := range steps {
		u := apply.Update{Snapshot: step.snapshot, Target: at(1, uint64(i+1), step.offered)}
		if step.snapshot {
			u.Delta = configset.Diff(configset.Set{}, step.offered)
		} else {
			u.Base, u.Delta = at(1, uint64(i), offered), configset.Diff(offered, step.offered)
		}
		if refusal := a.Apply(u); refusal != nil {
			t.Fatalf("%s: %v", step.name, refusal)
		}
		offered = step.offered
		state, _ := a.Held()
		got, lacking := map[string]string{}, 0
		for e := range state.Set.All() {
			got[e.ID] = string(e.Body)
			if e.Kept {
				got[e.ID] = string(e.Last)
			}
			if e.Kept && e.Last == nil {
				lacking++
			}
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if _, counted := state.Set.Kept(); counted != lacking {
			t.Errorf("%s: %d are said to be lacking, %d are", step.name, counted, lacking)
		}
		if state.Set.Hash() != step.offered.Hash() || k.serving != state.Set.Hash() {
			t.Errorf("%s: both sides have another hash", step.name)
		}
		for _, e := range k.appended.Puts {
			if held, _ := state.Set.Get(e.Kind, e.ID); !step.snapshot && string(held.Last) != string(e.Last) {
				t.Errorf("%s: another last form of %s is made durable", step.name, e.ID)
			}
		}
	}
}

// A configuration of kept entries alone is not empty: it never needs to be meant.
func TestKeptEntriesAreNoEmptyConfiguration(t *testing.T) {
	t.Parallel()
	n := &node{}
	a := apply.New(n, n)
	a.Start(apply.State{Epoch: 1, Version: 1, Set: entries("a")})
	all := configset.Set{}.Put(configset.Entry{Kind: "routes", ID: "a", Kept: true}).Put(configset.Entry{Kind: "fingerprint_keys", ID: "k", Kept: true})
	if refusal := a.Apply(apply.Update{Snapshot: true, Target: at(1, 2, all), Delta: configset.Diff(configset.Set{}, all)}); refusal != nil {
		t.Errorf("refused: %v", refusal)
	}
	key := configset.Set{}.Put(configset.Entry{Kind: "fingerprint_keys", ID: "k", Kept: true})
	refusal := a.Apply(apply.Update{Snapshot: true, Target: at(1, 3, key), Delta: configset.Diff(configset.Set{}, key)})
	if refusal == nil || refusal.Reason != syncv1.NackReason_NACK_REASON_EMPTY {
		t.Errorf("a kept fingerprint key alone: %v", refusal)
	}
}
