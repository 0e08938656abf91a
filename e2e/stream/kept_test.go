package stream_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
)

// history is a random life of an installation: one node has all keys and writes, another loses keys, restarts and
// gets them back, and data planes that link to it restart, or come late. A witness links to the first and so holds all.
type history struct {
	*testing.T
	random  *rand.Rand
	whole   *controlPlane
	witness *dataPlane
	lossy   *controlPlane
	edges   []*edge
	names   int
	log     []string
}

// edge is a data plane of the node that loses keys, and what it had of each entity when it was last looked at.
type edge struct {
	*dataPlane
	running bool
	had     map[configset.Ref][]byte
}

// TestNoKeyThatIsMissingTakesAnythingFromADataPlane is the promise of kept entries: whatever happens in which order, a data
// plane never loses an entity that still exists, never has one that was deleted, has the newest form of all that
// opens, and ends with everything once the keys are back.
func TestNoKeyThatIsMissingTakesAnythingFromADataPlane(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := &history{T: t, random: rand.New(rand.NewPCG(seed, 7)), whole: newControlPlane(t)}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the history: %v", h.log)
				}
			})
			h.whole.heartbeat = 5 * time.Second // a busy machine is no part of the history
			h.whole.restart()
			h.whole.insert("plugins", `{"name":"key-auth"}`) // and a route, without which credentials reach nobody
			h.whole.insert("routes", `{"paths":["/"]}`)
			h.lossy = h.whole.another(nil)
			h.witness = h.whole.linked("witness")
			h.join()
			h.insert()
			for range 30 {
				h.step()
				h.check()
			}
			h.lossy.keys.give()
			h.log = append(h.log, "all keys are back")
			for _, e := range h.edges {
				h.run(e)
			}
			h.lossy.feed.Wake()
			eventually(t, "nothing is kept any more", func() bool { return h.lossy.publisher.Kept().Rows == 0 })
			h.check()
			for _, e := range h.edges {
				if kept, _ := e.state().Set.Kept(); kept != 0 || e.state().Set.Hash() != h.witness.state().Set.Hash() {
					t.Errorf("a data plane ends with %d kept entries, or not with all", kept)
				}
			}
		})
	}
}

func (h *history) step() {
	steps := []struct {
		name   string
		weight int
		do     func()
	}{
		{"insert", 6, h.insert},
		{"delete", 3, h.delete},
		{"change", 3, h.change},
		{"rotate", 2, h.rotate},
		{"lose a key", 3, h.lose},
		{"restart the node", 4, h.lossy.restart},
		{"keys are back", 2, h.lossy.keys.give},
		{"restart a data plane", 3, func() { h.pick(func(e *edge) { e.stop(); e.start() }) }},
		{"a data plane is away", 2, func() { h.pick(func(e *edge) { e.stop(); e.running = false }) }},
		{"data planes are back", 3, func() {
			for _, e := range h.edges {
				h.run(e)
			}
		}},
		{"a new data plane", 1, h.join},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	n := h.random.IntN(total)
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			h.log = append(h.log, s.name)
			s.do()
			return
		}
	}
}

func (h *history) insert() {
	h.names++
	name := fmt.Sprint("c", h.names)
	h.whole.insert("consumers", fmt.Sprintf(`{"username":%q}`, name))
	document := map[string]any{"key": "key of " + name}
	at := catalog.Address{Table: "keyauth_credentials", Workspace: h.whole.workspace, Parent: &catalog.Parent{Table: "consumers", Key: name}}
	_, err := h.whole.catalog.Insert(h.Context(), at, document)
	h.whole.must(err)
}

// credentials are the ids of all that is sealed but the environment's key.
func (h *history) credentials() (ids []string) {
	rows, err := h.whole.store.List(h.Context(), record.Query{Table: "keyauth_credentials", AnyWorkspace: true})
	h.whole.must(err)
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids
}

func (h *history) delete() {
	if ids := h.credentials(); len(ids) > 0 {
		h.whole.remove("keyauth_credentials", ids[h.random.IntN(len(ids))])
	}
}

func (h *history) change() {
	ids := h.credentials()
	if len(ids) == 0 {
		return
	}
	at := catalog.Address{Table: "keyauth_credentials", Workspace: h.whole.workspace, Key: ids[h.random.IntN(len(ids))]}
	_, err := h.whole.catalog.Update(h.Context(), at, map[string]any{"key": fmt.Sprint("another key ", h.random.Uint64())})
	h.whole.must(err)
}

func (h *history) rotate() {
	id, _, err := h.whole.ring.Generate(h.Context())
	h.whole.must(err)
	h.whole.must(h.whole.ring.Activate(h.Context(), id, false))
}

func (h *history) lose() {
	held := h.whole.ring.Held()
	h.lossy.keys.take(held[h.random.IntN(len(held))])
}

func (h *history) join() {
	dp := h.lossy.dataPlane(defaultLeaf(fmt.Sprint("edge-", len(h.edges))))
	h.edges = append(h.edges, &edge{dataPlane: dp, had: map[configset.Ref][]byte{}})
	h.run(h.edges[len(h.edges)-1])
}

func (h *history) pick(do func(e *edge)) {
	running := slices.DeleteFunc(slices.Clone(h.edges), func(e *edge) bool { return !e.running })
	if len(running) > 0 {
		do(running[h.random.IntN(len(running))])
	}
}

func (h *history) run(e *edge) {
	if !e.running {
		e.start()
		e.running = true
	}
}

// check waits until all have what they should have, and compares.
func (h *history) check() {
	h.Helper()
	h.whole.feed.Wake()
	h.lossy.feed.Wake()
	h.whole.holds(h.witness)
	all := map[configset.Ref][]byte{}
	for entry := range h.witness.state().Set.All() {
		all[configset.Ref{Kind: entry.Kind, ID: entry.ID}] = entry.Body
	}
	for _, e := range h.edges {
		if e.running {
			h.lossy.holds(e.dataPlane)
			h.compare(e, all)
		}
	}
}

func (h *history) compare(e *edge, all map[configset.Ref][]byte) {
	h.Helper()
	has := map[configset.Ref][]byte{}
	for entry := range e.state().Set.All() {
		ref := configset.Ref{Kind: entry.Kind, ID: entry.ID}
		newest, exists := all[ref]
		form := entry.Body
		switch {
		case !exists:
			h.Errorf("%v: a data plane has %v, which was deleted", h.log, ref)
		case !entry.Kept && !bytes.Equal(form, newest):
			h.Errorf("%v: a data plane has an old form of %v, which opens", h.log, ref)
		case entry.Kept:
			form = entry.Last
			if before, had := e.had[ref]; had && !bytes.Equal(form, before) {
				h.Errorf("%v: a data plane has another last form of %v than it had", h.log, ref)
			}
		}
		if form != nil {
			has[ref] = form
		}
	}
	for ref := range e.had {
		if _, exists := all[ref]; exists && has[ref] == nil {
			h.Errorf("%v: a data plane lost %v, which exists", h.log, ref)
		}
	}
	if len(has) != len(all) {
		_, lacking := e.state().Set.Kept()
		if len(has)+lacking != len(all) {
			h.Errorf("%v: a data plane has %d entities and lacks %d of %d", h.log, len(has), lacking, len(all))
		}
	}
	e.had = has
}
