package kms_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

var place = aead.Place{Workspace: "w", Table: "t", Row: "r", Field: "f"}

// history is a life of some nodes, their plugins and one database, with values in it.
type history struct {
	*town
	t       *rapid.T
	began   time.Time
	values  map[string]string // sealed text by row
	copies  []backup
	checks  map[string]string    // check value by key id
	made    map[string]time.Time // when a key was first seen
	started map[string]time.Time // since when a node runs
	dead    map[string]time.Time // since when a node's plugin is not well
	forced  int                  // keys that an operator made
	rows    int
}

type backup struct {
	kr     record.Keyring
	values map[string]string
}

// TestHistories: whatever happens to plugins, nodes and database, no id has two keys; no value is sealed under a key
// that a node which ran when the key was made has not opened, nor by a node whose plugin is ill for long; keys are few; and once all is well again every value opens everywhere and the active key is of the plugins' key_id.
func TestHistories(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // without its deadline, which is none of the bubble's time
			h := &history{
				t: t, values: map[string]string{}, checks: map[string]string{}, made: map[string]time.Time{},
				started: map[string]time.Time{}, dead: map[string]time.Time{}, began: time.Now(),
			}
			h.town = newTown(t, rapid.IntRange(1, 3).Draw(t, "nodes"))
			h.town.rows = h.count
			defer h.endAll()
			acts := map[string]func(){
				"pass": h.passes, "rotate": h.rotates, "rotate one": h.rotatesOne, "flip-flop": h.flips, "kill plugin": h.kills, "mend plugin": h.mends,
				"deny": h.denies, "start": h.starts, "stop": h.stops, "write": h.writes, "back up": h.backsUp, "restore": h.restores,
				"generate": h.generates, "rewrap": h.rewraps,
			}
			names := slices.Sorted(maps.Keys(acts))
			h.startNode(0)
			for range rapid.IntRange(1, 25).Draw(t, "acts") {
				acts[rapid.SampledFrom(names).Draw(t, "act")]()
				pass(time.Second)
				h.check()
				h.writes()
			}
			h.settles()
		})
	})
}

func (h *history) count(_ context.Context, id string) (counts []record.SealedCount, err error) {
	for _, text := range h.values {
		if of, err := aead.KeyIDOf(text); err == nil && of == id {
			counts = append(counts, record.SealedCount{Table: "t", Key: id, Rows: 1})
		}
	}
	return counts, nil
}

func (h *history) node() *node { return rapid.SampledFrom(h.nodes).Draw(h.t, "node") }

func (h *history) keyID() string {
	return rapid.SampledFrom([]string{"A", "B", "C"}).Draw(h.t, "key_id")
}

func (h *history) passes() {
	pass(time.Duration(rapid.SampledFrom([]int{5, 60, 200, 700}).Draw(h.t, "seconds")) * time.Second)
}

func (h *history) rotates() {
	id := h.keyID()
	h.every(func(p *plugin) { p.next, p.keyID = nil, id })
}

func (h *history) rotatesOne() {
	id := h.keyID()
	h.node().plugin.set(func(p *plugin) { p.next, p.keyID = nil, id })
}

func (h *history) flips() {
	h.node().plugin.set(func(p *plugin) {
		asked := 0
		p.next = func() string { asked++; return []string{"A", "B"}[asked%2] }
	})
}

func (h *history) ail(change func(p *plugin)) {
	n := h.node()
	n.plugin.set(change)
	if _, already := h.dead[n.name]; !already {
		h.dead[n.name] = time.Now()
	}
}

func (h *history) kills() {
	ill := rapid.Bool().Draw(h.t, "ill")
	h.ail(func(p *plugin) {
		p.dead = !ill
		if ill {
			p.ill = errRefused
		}
	})
}

func (h *history) denies() { h.node().plugin.set(func(p *plugin) { p.deny = true }) }

func (h *history) mends() {
	n := h.node()
	n.plugin.set(func(p *plugin) { p.dead, p.ill, p.deny, p.next = false, nil, false, nil })
	delete(h.dead, n.name)
}

func (h *history) startNode(i int) {
	n := h.start(i)
	h.started[n.name] = time.Now()
}

func (h *history) starts() { h.startNode(rapid.IntRange(0, len(h.nodes)-1).Draw(h.t, "node")) }

func (h *history) stops() { h.end(rapid.IntRange(0, len(h.nodes)-1).Draw(h.t, "node")) }

func (h *history) generates() {
	if n := h.node(); n.ring != nil {
		_, material, err := n.ring.Generate(h.t.Context())
		if err == nil {
			h.forced++
		} else if fault.KindOf(err) != fault.Unavailable {
			h.t.Fatal(err)
		}
		if material.Len() != 0 {
			h.t.Fatal("material was shown")
		}
	}
}

func (h *history) rewraps() {
	if n := h.node(); n.ring != nil {
		if _, err := n.ring.Rewrap(h.t.Context()); err != nil && fault.KindOf(err) != fault.Unavailable {
			h.t.Fatal(err)
		}
	}
}

func (h *history) writes() {
	for _, n := range h.nodes {
		if n.ring == nil {
			continue
		}
		id, key, err := n.ring.Active()
		if err != nil {
			if fault.KindOf(err) != fault.Unavailable {
				h.t.Fatal(err)
			}
			continue
		}
		if since, ill := h.dead[n.name]; ill && time.Since(since) > 5*time.Minute {
			h.t.Fatalf("%s seals though its plugin is ill for %v", n.name, time.Since(since))
		}
		for _, other := range h.nodes {
			if other.ring != nil && !slices.Contains(other.ring.Held(), id) && h.started[other.name].Before(h.made[id]) {
				h.t.Fatalf("%s seals under %s, which %s has not opened", n.name, id, other.name)
			}
		}
		h.rows++
		h.values[fmt.Sprint(h.rows)] = aead.SealText(key, id, place, []byte("value"))
	}
}

func (h *history) backsUp() {
	h.copies = append(h.copies, backup{h.store.StoredOf(ringName), maps.Clone(h.values)})
}

// restores: a node that runs over a restored database looks at it before it dies.
func (h *history) restores() {
	if len(h.copies) == 0 {
		return
	}
	copied := rapid.SampledFrom(h.copies).Draw(h.t, "copy")
	h.store.ReplaceOf(ringName, copied.kr)
	h.values = maps.Clone(copied.values)
	pass(11 * time.Second)
}

func (h *history) check() {
	rows := h.store.StoredOf(ringName).Keys
	for _, row := range rows {
		if known, ok := h.checks[row.ID]; ok && known != string(row.Check) {
			h.t.Fatalf("key %s has a second material", row.ID)
		}
		h.checks[row.ID] = string(row.Check)
		if _, ok := h.made[row.ID]; !ok {
			h.made[row.ID] = time.Now()
		}
	}
	if most := 4 + 2*h.forced + int(time.Since(h.began)/time.Minute); len(h.made) > most*len(h.nodes) {
		h.t.Fatalf("%d keys were made within %v", len(h.made), time.Since(h.began))
	}
}

func (h *history) settles() {
	id := h.keyID()
	h.every(func(p *plugin) { p.dead, p.ill, p.deny, p.next, p.keyID = false, nil, false, nil, id })
	clear(h.dead)
	for i, n := range h.nodes {
		if n.ring == nil {
			h.startNode(i)
		}
	}
	pass(time.Hour) // a plugin may have been behind for long
	h.check()
	active := h.active()
	for _, row := range h.store.StoredOf(ringName).Keys {
		if row.ID == active && keyIDOf(row) != id {
			h.t.Fatalf("the active key is of %s, the plugins say %s", keyIDOf(row), id)
		}
	}
	for _, n := range h.nodes {
		if health := n.keeper.Health(); !health.Healthy || !health.Sealing || health.WaitingFor != "" {
			h.t.Fatalf("%s: %+v", n.name, health)
		}
		if status := n.ring.Status(); status.State != "ready" || status.Refused.Rows+status.Refused.Heads != 0 {
			h.t.Fatalf("%s: %+v", n.name, status)
		}
		for row, text := range h.values {
			of, err := aead.KeyIDOf(text)
			if err != nil {
				h.t.Fatal(err)
			}
			key, err := n.ring.Key(of)
			if err != nil {
				h.t.Fatalf("%s: row %s: %v", n.name, row, err)
			}
			if _, err := aead.OpenText(key, place, text); err != nil {
				h.t.Fatalf("%s: row %s: %v", n.name, row, err)
			}
		}
	}
}
