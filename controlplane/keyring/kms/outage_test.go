package kms_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// inTown runs a test with some nodes in a bubble of its own time.
func inTown(t *testing.T, count int, test func(t *testing.T, w *town)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, count)
		defer w.endAll()
		test(t, w)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestAFirstStartWithADeadPlugin: the start goes on, nothing is sealed, and the first key comes with the plugin.
func TestAFirstStartWithADeadPlugin(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.every(func(p *plugin) { p.dead = true })
		began := time.Now()
		w.startAll()
		if time.Since(began) != 0 {
			t.Errorf("the start took %v", time.Since(began))
		}
		pass(20 * time.Minute)
		for _, n := range w.nodes {
			if _, _, err := n.ring.Active(); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Active = %v", err)
			}
			if err := n.keeper.Sealing(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "start the plugin") {
				t.Errorf("Sealing = %v", err)
			}
			if h := n.keeper.Health(); h.Healthy || h.Sealing || !strings.Contains(h.Text, "start the plugin") {
				t.Errorf("Health = %+v", h)
			}
			if n, m := n.plugin.called("Status"), n.plugin.called("Encrypt"); n < 70 || n > 110 || m != 0 {
				t.Errorf("%d Status and %d Encrypt in twenty minutes", n, m)
			}
		}
		w.every(func(p *plugin) { p.dead = false })
		pass(15 * time.Second)
		w.active()
		w.expectKeys("A")
		before := w.nodes[0].plugin.called("Status")
		pass(20 * time.Minute)
		if asked := w.nodes[0].plugin.called("Status") - before; asked < 17 || asked > 23 {
			t.Errorf("%d Status of a plugin that is well in twenty minutes", asked)
		}
	})
}

// TestAFirstKeyWaitsForEveryNode: nothing is sealed under the first key either before every node that lives has opened
// it, and a node whose plugin dies after that stops nobody.
func TestAFirstKeyWaitsForEveryNode(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.nodes[1].plugin.set(func(p *plugin) { p.dead = true })
		w.startAll()
		pass(10 * time.Minute)
		for _, n := range w.nodes {
			if _, _, err := n.ring.Active(); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Active of %s before the other has opened the key = %v", n.name, err)
			}
		}
		if status := w.nodes[0].ring.Status(); status.State != "waiting" || status.Keys[0].State != "standby" || w.nodes[0].ring.Keys().Active != "" {
			t.Errorf("Status = %+v", status)
		}
		if h := w.nodes[0].keeper.Health(); h.Sealing || !strings.Contains(h.WaitingFor, "node-1") {
			t.Errorf("Health = %+v", h)
		}
		w.expectKeys("A")
		w.nodes[1].plugin.set(func(p *plugin) { p.dead = false })
		pass(time.Minute)
		first := w.active()
		w.expectKeys("A")
		w.nodes[1].plugin.set(func(p *plugin) { p.dead = true })
		for i := range w.nodes {
			w.start(i)
		}
		pass(time.Minute)
		if id, _, err := w.nodes[0].ring.Active(); id != first || err != nil {
			t.Errorf("Active of the sound node = %s, %v, want %s", id, err, first)
		}
	})
}

// TestATotalOutage: the plugins alone give the keys back, whenever they come.
func TestATotalOutage(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		first := w.active()
		w.every(func(p *plugin) { p.keyID = "B" })
		pass(2 * time.Minute)
		second := w.active()
		w.endAll()
		w.every(func(p *plugin) { p.asked = map[string]int{} })
		w.startAll()
		pass(time.Second)
		if got := w.active(); got != second || len(w.nodes[1].ring.Held()) != 2 {
			t.Errorf("active %s, held %v", got, w.nodes[1].ring.Held())
		}
		for _, n := range w.nodes {
			for text, times := range n.plugin.asked {
				if times != 1 {
					t.Errorf("%s unwrapped %q %d times", n.name, text, times)
				}
			}
		}
		w.every(func(p *plugin) { p.dead = true })
		w.endAll()
		w.startAll()
		pass(10 * time.Minute)
		for _, id := range []string{first, second} {
			if key := stateOf(w.nodes[0].ring, id); key.State != "missing" || !strings.Contains(key.Reason, "start the plugin") {
				t.Errorf("key %s: %+v", id, key)
			}
		}
		if h := w.nodes[0].keeper.Health(); len(h.Unopened) != 2 || h.Healthy {
			t.Errorf("Health = %+v", h)
		}
		w.every(func(p *plugin) { p.dead = false })
		pass(15 * time.Second)
		if got := w.active(); got != second {
			t.Errorf("active %s, want %s", got, second)
		}
		w.expectKeys("A", "B")
		if h := w.nodes[0].keeper.Health(); !h.Healthy || len(h.Unopened) != 0 || !h.Sealing || h.ActiveKey != second || h.KeyIDHash != h.ActiveHash {
			t.Errorf("Health = %+v", h)
		}
	})
}

// TestAPluginThatDies: reading goes on for ever, sealing for three minutes; and an ill plugin is as bad as a dead one.
func TestAPluginThatDies(t *testing.T) {
	for name, fails := range map[string]func(p *plugin){
		"dead": func(p *plugin) { p.dead = true },
		"ill":  func(p *plugin) { p.ill = errRefused },
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, 2, func(t *testing.T, w *town) {
				w.startAll()
				pass(time.Second)
				id := w.active()
				sick, sound := w.nodes[0], w.nodes[1]
				sick.plugin.set(fails)
				last := sick.keeper.Health().LastGood
				time.Sleep(time.Until(last.Add(3 * time.Minute)))
				if _, _, err := sick.ring.Active(); err != nil {
					t.Errorf("Active within three minutes: %v", err)
				}
				time.Sleep(2 * time.Minute)
				_, _, err := sick.ring.Active()
				if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "kms/corp" || !strings.Contains(err.Error(), "nothing is encrypted") {
					t.Errorf("Active after three minutes: %v", err)
				}
				if _, err := sick.ring.Key(id); err != nil {
					t.Errorf("Key = %v", err)
				}
				if _, _, err := sound.ring.Active(); err != nil {
					t.Errorf("Active on the other node: %v", err)
				}
				sick.plugin.set(func(p *plugin) { p.dead, p.ill = false, nil })
				pass(15 * time.Second)
				w.active()
				w.expectKeys("A")
			})
		})
	}
}

// TestDecryptIsDenied while Status says ok: who holds the keys goes on; who starts waits, says why, and makes no key.
func TestDecryptIsDenied(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		id := w.active()
		w.every(func(p *plugin) { p.deny = true })
		pass(5 * time.Minute)
		w.active()
		n := w.start(1)
		pass(20 * time.Minute)
		if _, _, err := w.nodes[0].ring.Active(); err != nil {
			t.Errorf("Active where the key is held: %v", err)
		}
		if _, _, err := n.ring.Active(); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("Active = %v", err)
		}
		if h := n.keeper.Health(); h.Healthy || h.Sealing || !slices.Contains(h.Unopened, id) || !strings.Contains(h.Text, "permission denied") {
			t.Errorf("Health = %+v", h)
		}
		if asked := n.plugin.called("Decrypt"); asked > 140 {
			t.Errorf("a key that is refused was asked for %d times in twenty minutes", asked)
		}
		w.every(func(p *plugin) { p.keyID = "B" }) // and no key that would be lost is made
		pass(10 * time.Minute)
		w.expectKeys("A")
		w.every(func(p *plugin) { p.keyID, p.deny = "A", false })
		pass(3 * time.Minute)
		if got := w.active(); got != id {
			t.Errorf("active %s, want %s", got, id)
		}
	})
}

// TestAnswersForAnotherKey are refused by the check value, and nothing is lost.
func TestAnswersForAnotherKey(t *testing.T) {
	for name, answers := range map[string]func([]byte) []byte{
		"wrong":   func(data []byte) []byte { data[0] ^= 1; return data },
		"short":   func(data []byte) []byte { return data[:16] },
		"long":    func(data []byte) []byte { return append(data, 0) },
		"nothing": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, 1, func(t *testing.T, w *town) {
				w.startAll()
				pass(time.Second)
				id := w.active()
				w.every(func(p *plugin) { p.answers = answers })
				n := w.start(0)
				pass(5 * time.Minute)
				if _, err := n.ring.Key(id); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "its check value differs") {
					t.Errorf("Key = %v", err)
				}
				w.every(func(p *plugin) { p.keyID = "B" })
				pass(5 * time.Minute)
				w.expectKeys("A") // no key was made that does not open
				w.every(func(p *plugin) { p.keyID, p.answers = "A", nil })
				pass(3 * time.Minute)
				if got := w.active(); got != id {
					t.Errorf("active %s, want %s", got, id)
				}
			})
		})
	}
}

// TestRowsOfAnotherProvider are refused by name and never asked for.
func TestRowsOfAnotherProvider(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		id := w.active()
		for name, c := range map[string]struct {
			change func(row *record.Key)
			says   string
		}{
			"no form":          {func(row *record.Key) { row.Wrapped = []byte{1, 2} }, "holds no material"},
			"another provider": {func(row *record.Key) { row.Wrapped[12] ^= 'x' }, "keeps its name"},
			"another API":      {func(row *record.Key) { row.Wrapped[6] = '1' }, "version v1 of the KMS API"},
		} {
			row := w.store.StoredOf(ringName).Keys[0]
			row.Wrapped = slices.Clone(row.Wrapped)
			c.change(&row)
			if _, err := w.nodes[0].keeper.Restore(row); fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), c.says) || fault.SubjectOf(err) != "key/"+id {
				t.Errorf("%s: Restore = %v", name, err)
			}
		}
	})
}
