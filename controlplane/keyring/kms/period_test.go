package kms_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

type secretBytes = secret.Bytes

func canary() secret.Bytes { return secret.Take([]byte(strings.Repeat("c", 32))) }

func second[T any](_ T, err error) error { return err }

func (w *town) rotate(keyID string) {
	w.every(func(p *plugin) { p.keyID = keyID })
	pass(2 * time.Minute)
}

// TestThereAndBack: A, B and A again are three keys; the first one is never taken up again.
func TestThereAndBack(t *testing.T) {
	inTown(t, 3, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		seen := map[string]bool{w.active(): true}
		for i, keyID := range []string{"B", "A", "B"} {
			w.rotate(keyID)
			id := w.active()
			if seen[id] {
				t.Errorf("key %s is active again", id)
			}
			if seen[id] = true; i == 1 {
				w.endAll()
				w.startAll()
				pass(time.Second)
			}
		}
		w.expectKeys("A", "B", "A", "B")
		for _, entry := range w.journal.entries {
			if strings.HasPrefix(entry, "key.generate") && !strings.Contains(entry, "[why key_id sha256:") {
				t.Errorf("the journal says %q", entry)
			}
		}
		if entries := fmt.Sprint(w.journal.entries); strings.Count(entries, "key.first") < 1 || strings.Count(entries, "key.generate") < 3 || // of nodes that race each records what it tries
			strings.Count(entries, "key.activate") < 3 {
			t.Errorf("the journal says %v", w.journal.entries)
		}
	})
}

// TestBackWhileNobodyRan: the database tells that A is not the period that it was, after a while.
func TestBackWhileNobodyRan(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		w.rotate("B")
		w.endAll()
		w.every(func(p *plugin) { p.keyID = "A" })
		w.startAll()
		pass(time.Minute)
		w.expectKeys("A", "B") // the plugins may only be behind
		w.active()
		if h := w.nodes[0].keeper.Health(); !h.Healthy || !strings.Contains(h.WaitingFor, "older key_id") {
			t.Errorf("Health = %+v", h)
		}
		pass(15 * time.Minute)
		w.expectKeys("A", "B", "A")
		w.active()
	})
}

// TestAPluginThatIsBehind makes no keys of its own, and the new key waits for it.
func TestAPluginThatIsBehind(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		first := w.active()
		w.nodes[1].plugin.set(func(p *plugin) { p.deny = true }) // it has not heard of B
		w.nodes[0].plugin.set(func(p *plugin) { p.keyID = "B" })
		pass(5 * time.Minute)
		if got := w.active(); got != first {
			t.Errorf("active %s, want %s", got, first)
		}
		if h := w.nodes[0].keeper.Health(); !h.Healthy || !h.Sealing || !strings.Contains(h.WaitingFor, "node-1") {
			t.Errorf("Health of the node that waits = %+v", h)
		}
		w.expectKeys("A", "B")
		w.nodes[1].plugin.set(func(p *plugin) { p.deny = false })
		pass(2 * time.Minute) // it opens B, and goes on to say A
		if got := w.active(); got == first {
			t.Error("the new key is not active, though both have opened it")
		}
		if h := w.nodes[1].keeper.Health(); !strings.Contains(h.WaitingFor, "older key_id") {
			t.Errorf("Health = %+v", h)
		}
		w.nodes[1].plugin.set(func(p *plugin) { p.keyID = "B" })
		pass(2 * time.Minute)
		w.expectKeys("A", "B")
		w.active()
	})
}

// TestPluginsThatNeverAgree make keys ever more seldom.
func TestPluginsThatNeverAgree(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		w.nodes[0].plugin.set(func(p *plugin) { p.keyID = "B" })
		pass(3 * time.Hour)
		if made := len(w.keys()); made < 3 || made > 9 {
			t.Errorf("%d keys in three hours", made)
		}
		for _, n := range w.nodes {
			if _, _, err := n.ring.Active(); err != nil {
				t.Errorf("%s: Active = %v", n.name, err)
			}
		}
	})
}

// TestAPluginThatIsDeadForOne: the new key waits for that node, which stops sealing, and the other goes on.
func TestAPluginThatIsDeadForOne(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		first := w.active()
		w.nodes[1].plugin.set(func(p *plugin) { p.dead = true })
		w.nodes[0].plugin.set(func(p *plugin) { p.keyID = "B" })
		pass(30 * time.Minute)
		if id, _, err := w.nodes[0].ring.Active(); id != first || err != nil {
			t.Errorf("Active of the sound node = %s, %v, want %s", id, err, first)
		}
		if _, _, err := w.nodes[1].ring.Active(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Active of the other = %v", err)
		}
		w.expectKeys("A", "B")
		w.end(1)
		pass(15 * time.Second) // nobody is left to wait for
		second, _, err := w.nodes[0].ring.Active()
		if second == first || err != nil {
			t.Errorf("Active = %s, %v", second, err)
		}
		w.start(1)
		pass(time.Minute)
		if _, _, err := w.nodes[1].ring.Active(); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Active after a start with a dead plugin = %v", err)
		}
		w.nodes[1].plugin.set(func(p *plugin) { p.dead, p.keyID = false, "B" })
		pass(time.Minute)
		if got := w.active(); got != second {
			t.Errorf("active %s, want %s", got, second)
		}
	})
}

// TestFlipFlop: whatever the plugin says, keys are one a minute at most, and health tells.
func TestFlipFlop(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		w.every(func(p *plugin) {
			asked := 0
			p.next = func() string { asked++; return []string{"A", "B"}[asked%2] }
		})
		pass(20 * time.Minute)
		if made := len(w.keys()); made > 24 {
			t.Errorf("%d keys in twenty minutes", made)
		}
		for _, n := range w.nodes {
			if h := n.keeper.Health(); !strings.Contains(h.Text, "changed") && !strings.Contains(h.Text, "changes") && !strings.Contains(h.Text, "both must be the same") {
				t.Errorf("Health = %+v", h)
			}
		}
		w.every(func(p *plugin) { p.next, p.keyID = nil, "C" })
		pass(10 * time.Minute)
		w.active()
		if keys := w.keys(); keys[len(keys)-1] != "C" || strings.Count(fmt.Sprint(keys), "C") != 1 {
			t.Errorf("keys of %v", keys)
		}
	})
}

// TestEncryptUnderAnotherKeyID: what it wraps is thrown away; after three minutes this node seals no more.
func TestEncryptUnderAnotherKeyID(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(p *plugin)
		says   string
	}{
		"another key_id": {func(p *plugin) { p.encryptsAs = "X" }, "both must be the same"},
		"garbage":        {func(p *plugin) { p.garbage = true }, "does not decrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, 1, func(t *testing.T, w *town) {
				w.startAll()
				pass(time.Second)
				first := w.active()
				n := w.nodes[0]
				w.every(c.breaks)
				pass(10 * time.Minute)
				w.active() // nothing was asked to be wrapped
				w.every(func(p *plugin) { p.keyID = "B" })
				pass(2 * time.Minute)
				if h := n.keeper.Health(); h.Healthy || !h.Sealing || !strings.Contains(h.Text, c.says) {
					t.Errorf("Health = %+v", h)
				}
				w.active()
				pass(3 * time.Minute)
				if _, _, err := n.ring.Active(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), c.says) {
					t.Errorf("Active = %v", err)
				}
				if _, err := n.ring.Key(first); err != nil {
					t.Errorf("Key = %v", err)
				}
				w.expectKeys("A")
				w.every(func(p *plugin) { p.encryptsAs, p.garbage = "", false })
				pass(time.Minute)
				if w.active() == first || !n.keeper.Health().Healthy {
					t.Errorf("the plugin was mended, and it is %+v", n.keeper.Health())
				}
				w.expectKeys("A", "B")
			})
		})
	}
}
