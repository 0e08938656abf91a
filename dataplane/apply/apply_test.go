package apply_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// node records what its applier compiled, kept and served, in order.
type node struct {
	log     []string
	serving configset.Hash
	full    error // what the disk answers
}

func (n *node) Compile(set configset.Set) (func(), []*syncv1.Quarantined) {
	n.log = append(n.log, "compile")
	var bad []*syncv1.Quarantined
	if _, found := set.Get("routes", "bad"); found {
		bad = append(bad, &syncv1.Quarantined{Kind: "routes", Id: "bad"})
	}
	return func() { n.log = append(n.log, "install"); n.serving = set.Hash() }, bad
}

func (n *node) Replace(apply.State) error { n.log = append(n.log, "replace"); return n.full }

func (n *node) Append(apply.State, configset.Delta) error {
	n.log = append(n.log, "append")
	return n.full
}

func entries(ids ...string) (s configset.Set) {
	for _, id := range ids {
		s = s.Put(configset.Entry{Kind: "routes", ID: id})
	}
	return s
}

func at(epoch, version uint64, s configset.Set) *syncv1.Position {
	return apply.State{Epoch: epoch, Version: version, Set: s}.Position()
}

func TestApply(t *testing.T) {
	t.Parallel()
	held := entries("a", "b")
	changed, empty := entries("a", "b", "c"), configset.Set{}
	snapshot := func(epoch, version uint64, s configset.Set) apply.Update {
		return apply.Update{Snapshot: true, Target: at(epoch, version, s), Delta: configset.Diff(empty, s)}
	}
	delta := apply.Update{Base: at(1, 5, held), Target: at(1, 6, changed), Delta: configset.Diff(held, changed)}
	foreign := delta
	foreign.Base = at(1, 5, entries("z"))
	otherEpoch := delta
	otherEpoch.Base = at(2, 5, held)
	cut := delta
	cut.Delta = configset.Delta{}
	key := configset.Set{}.Put(configset.Entry{Kind: "fingerprint_keys", ID: "k", Body: []byte("key")})
	meant := snapshot(1, 6, key)
	meant.ExplicitEmpty = true
	nothing := snapshot(1, 6, empty)
	nothing.ExplicitEmpty = true
	last := apply.Update{Base: at(1, 5, held), Target: at(1, 6, key), Delta: configset.Diff(held, key)}
	tests := map[string]struct {
		update apply.Update
		disk   error
		want   syncv1.NackReason // unspecified: taken
		serves configset.Set
	}{
		"delta":                           {update: delta, serves: changed},
		"snapshot":                        {update: snapshot(1, 6, changed), serves: changed},
		"snapshot of the same version":    {update: snapshot(1, 5, changed), serves: changed},
		"snapshot of a later epoch":       {update: snapshot(2, 1, changed), serves: changed},
		"with an entity nobody can use":   {update: snapshot(1, 6, entries("bad", "c")), serves: entries("bad", "c")},
		"an empty one that is meant":      {update: meant, serves: key},
		"not even a key, and meant":       {update: nothing, serves: empty},
		"an empty one of a later epoch":   {update: snapshot(2, 1, key), want: syncv1.NackReason_NACK_REASON_EMPTY, serves: held},
		"a delta that leaves a key alone": {update: last, want: syncv1.NackReason_NACK_REASON_EMPTY, serves: held},
		"entities beside the key":         {update: snapshot(1, 6, key.Put(configset.Entry{Kind: "routes", ID: "z"})), serves: key.Put(configset.Entry{Kind: "routes", ID: "z"})},
		"an empty one that is not":        {update: snapshot(1, 6, empty), want: syncv1.NackReason_NACK_REASON_EMPTY, serves: held},
		"delta from another base":         {update: foreign, want: syncv1.NackReason_NACK_REASON_MISMATCH, serves: held},
		"delta from another epoch":        {update: otherEpoch, want: syncv1.NackReason_NACK_REASON_MISMATCH, serves: held},
		"delta that does not lead there":  {update: cut, want: syncv1.NackReason_NACK_REASON_MISMATCH, serves: held},
		"snapshot of an older version":    {update: snapshot(1, 4, changed), want: syncv1.NackReason_NACK_REASON_MISMATCH, serves: held},
		"snapshot of an older epoch":      {update: snapshot(0, 9, changed), want: syncv1.NackReason_NACK_REASON_MISMATCH, serves: held},
		"nothing at all":                  {update: apply.Update{}, want: syncv1.NackReason_NACK_REASON_MALFORMED, serves: held},
		"delta while the disk is full":    {update: delta, disk: errors.New("no space left"), want: syncv1.NackReason_NACK_REASON_STORAGE, serves: held},
		"snapshot while the disk is full": {update: snapshot(1, 6, changed), disk: errors.New("no space left"), want: syncv1.NackReason_NACK_REASON_STORAGE, serves: held},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &node{}
			a := apply.New(n, n)
			a.Start(apply.State{Epoch: 1, Version: 5, Set: held})
			n.full, n.log = test.disk, nil
			refusal := a.Apply(test.update)
			if (refusal == nil) != (test.want == 0) || refusal != nil && (refusal.Reason != test.want || refusal.Detail == "") {
				t.Fatalf("Apply = %v, want reason %v", refusal, test.want)
			}
			state, _ := a.Held()
			if n.serving != test.serves.Hash() || state.Set.Hash() != n.serving {
				t.Error("another configuration serves than the one that should")
			}
			if refusal == nil {
				keep := map[bool]string{true: "replace", false: "append"}[test.update.Snapshot]
				if got, want := fmt.Sprint(n.log), fmt.Sprint([]string{"compile", keep, "install"}); got != want {
					t.Errorf("order %s, want %s", got, want)
				}
				if state.Version != test.update.Target.Version || state.Epoch != test.update.Target.Epoch {
					t.Errorf("holds epoch %d version %d", state.Epoch, state.Version)
				}
			}
			if _, bad := state.Set.Get("routes", "bad"); bad != (len(a.Quarantined()) == 1) {
				t.Errorf("quarantined %v", a.Quarantined())
			}
		})
	}
}

func TestAnEmptyNodeTakesOnlySnapshots(t *testing.T) {
	t.Parallel()
	n := &node{}
	a := apply.New(n, n)
	if _, holds := a.Held(); holds {
		t.Fatal("holds something before the first update")
	}
	set := entries("a")
	delta := apply.Update{Base: at(0, 0, configset.Set{}), Target: at(0, 1, set), Delta: configset.Diff(configset.Set{}, set)}
	if refusal := a.Apply(delta); refusal == nil || refusal.Reason != syncv1.NackReason_NACK_REASON_MISMATCH {
		t.Fatalf("Apply(delta over nothing) = %v, want a mismatch", refusal)
	}
	if refusal := a.Apply(apply.Update{Snapshot: true, Target: at(1, 1, configset.Set{})}); refusal != nil {
		t.Fatalf("a first configuration may be empty: %v", refusal)
	}
}
