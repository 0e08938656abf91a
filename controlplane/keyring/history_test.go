package keyring_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// history is a life of some nodes and one database, with values in it.
type history struct {
	*town
	t        *rapid.T
	database *keyringtest.Store
	values   map[string]string // sealed text by row
	copies   []backup
	seen     map[string]secret.Bytes // material by key id
	rows     int
}

type backup struct {
	kr     record.Keyring
	values map[string]string
}

// TestHistories: whatever happens to nodes and database, each value opens on a node that is ready, or its
// key is named as missing or lost; no id ever has two materials; and once the nodes have settled, no value
// is sealed under a key that the database does not know.
func TestHistories(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // without its deadline, which is none of the bubble's time
			h := &history{t: t, database: &keyringtest.Store{}, values: map[string]string{}, seen: map[string]secret.Bytes{}}
			h.town = newTown(t, h.database, rapid.IntRange(2, 3).Draw(t, "nodes"), keyring.Options{References: h.count})
			t.Repeat(map[string]func(*rapid.T){
				"": h.check, "generate": h.generates, "activate": h.activates, "write": h.writes, "reencrypt": h.reencrypts,
				"remove": h.removes, "deactivate": h.deactivates, "kill": h.kills, "stop": h.stops, "part": h.parts, "return": h.returns,
				"back up": h.backsUp, "restore": h.restores, "ask": h.asks, "look": h.looks, "settle": h.settles,
			})
			h.settles(t)
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

// node draws one that runs; reaching: one that reaches the database.
func (h *history) node(t *rapid.T, reaching bool) (int, *keyring.Ring) {
	var running []int
	for i, ring := range h.nodes {
		if ring != nil && (!reaching || !h.away[h.names[i]]) {
			running = append(running, i)
		}
	}
	if len(running) == 0 {
		t.Skip("no such node")
	}
	i := rapid.SampledFrom(running).Draw(t, "node")
	return i, h.nodes[i]
}

func (h *history) key(t *rapid.T, ring *keyring.Ring) string {
	status := ring.Status()
	if len(status.Keys) == 0 {
		t.Skip("no key")
	}
	return rapid.SampledFrom(status.Keys).Draw(t, "key").ID
}

func (h *history) check(t *rapid.T) {
	for i, ring := range h.nodes {
		if ring == nil {
			continue
		}
		for id, material := range lent(ring, ring.Held()) {
			if known, ok := h.seen[id]; ok && !known.Equal(material) {
				t.Fatalf("%s: key %s has a second material", h.names[i], id)
			}
			h.seen[id] = material
		}
	}
}

// may fails the history for an error that nothing explains.
func may(t *rapid.T, err error, kinds ...fault.Kind) {
	if err != nil && !slices.Contains(kinds, fault.KindOf(err)) {
		t.Fatal(err)
	}
}

func (h *history) generates(t *rapid.T) {
	_, ring := h.node(t, true)
	id, material, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, taken := h.seen[id]; taken {
		t.Fatalf("id %s was made twice", id)
	}
	h.seen[id] = material
}

func (h *history) activates(t *rapid.T) {
	_, ring := h.node(t, true)
	err := ring.Activate(t.Context(), h.key(t, ring), rapid.Bool().Draw(t, "force"))
	may(t, err, fault.Unavailable, fault.NotFound)
}

func (h *history) removes(t *rapid.T) {
	_, ring := h.node(t, true)
	may(t, ring.Remove(t.Context(), h.key(t, ring)), fault.Unavailable, fault.NotFound, fault.Conflict)
}

func (h *history) deactivates(t *rapid.T) {
	_, ring := h.node(t, true)
	may(t, ring.Deactivate(t.Context(), h.key(t, ring)), fault.NotFound, fault.Conflict)
}

func (h *history) writes(t *rapid.T) {
	_, ring := h.node(t, true)
	id, key, err := ring.Active()
	if err != nil {
		may(t, err, fault.Unavailable)
		return
	}
	h.rows++
	h.values[fmt.Sprint(h.rows)] = aead.SealText(key, id, place, []byte("value"))
}

func (h *history) reencrypts(t *rapid.T) {
	_, ring := h.node(t, true)
	for _, row := range slices.Sorted(maps.Keys(h.values)) {
		id, key, err := ring.Active()
		if err == nil && opens(ring, h.values[row]) == nil && rapid.Bool().Draw(t, "row") {
			h.values[row] = aead.SealText(key, id, place, []byte("value"))
		}
	}
}

func (h *history) kills(t *rapid.T) {
	i, _ := h.node(t, true)
	h.start(i)
}

func (h *history) stops(t *rapid.T) {
	i, _ := h.node(t, false)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes[i] = nil
}

func (h *history) parts(t *rapid.T) {
	i, _ := h.node(t, true)
	h.lose(i)
	time.Sleep(16 * time.Second) // its lease is over, and the others look now and then
	h.looksAll()
}

func (h *history) returns(t *rapid.T) {
	i := rapid.IntRange(0, len(h.nodes)-1).Draw(t, "node")
	h.regain(i)
	if h.nodes[i] == nil {
		h.start(i)
	}
}

func (h *history) backsUp(*rapid.T) {
	h.copies = append(h.copies, backup{h.database.Stored(), maps.Clone(h.values)})
}

// restores: a node that runs over a restored database looks at it before it dies.
func (h *history) restores(t *rapid.T) {
	if len(h.copies) == 0 {
		t.Skip("no copy")
	}
	copied := rapid.SampledFrom(h.copies).Draw(t, "copy")
	h.database.Replace(copied.kr)
	h.values = maps.Clone(copied.values)
	h.looksAll()
}

func (h *history) looksAll() {
	for i, ring := range h.nodes {
		if ring != nil && !h.away[h.names[i]] {
			if err := ring.Pass(h.t.Context()); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

func (h *history) looks(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
	_, ring := h.node(t, true)
	if err := ring.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (h *history) asks(t *rapid.T) {
	i, asking := h.node(t, true)
	j, giving := h.node(t, false)
	if i != j {
		give(t, giving, asking, h.names[j])
	}
}

func (h *history) settles(t *rapid.T) {
	for i, ring := range h.nodes {
		h.regain(i)
		if ring == nil {
			h.start(i)
		}
	}
	h.settle()
	time.Sleep(16 * time.Second)
	h.settle()
	for row, text := range h.values {
		id, err := aead.KeyIDOf(text)
		if err != nil {
			t.Fatal(err)
		}
		if stored(h.database, id).ID == "" {
			t.Fatalf("row %s is sealed under %s, which the database does not know", row, id)
		}
		for i, ring := range h.nodes {
			if err := opens(ring, text); err == nil {
				continue
			}
			if state := stateOf(ring, id).State; state != "missing" && state != "lost" {
				t.Fatalf("%s: row %s does not open, and its key %s is %s", h.names[i], row, id, state)
			}
		}
	}
	active := h.nodes[0].Status().Active
	for i, ring := range h.nodes {
		status := ring.Status()
		if status.Active != active || status.Refused != (keyring.Refused{}) || !slices.Equal(ring.Held(), h.nodes[0].Held()) {
			t.Fatalf("%s: %+v; node 0: %+v", h.names[i], status, h.nodes[0].Status())
		}
	}
}
