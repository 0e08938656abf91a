package balancer

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// owners is who has each slot of a fresh upstream of targets.
func owners(t interface{ Fatal(...any) }, u *Upstream) map[int]string {
	l := u.layout(ctxOf(t), 0)
	ring, ok := l.hashRing()
	if !ok {
		t.Fatal("there is no ring")
	}
	got := map[int]string{}
	for slot, at := range ring.owners {
		got[slot] = l.seats[at].addr.String()
	}
	return got
}

// Whatever changes, only those slots move that lead to what rises or away from what falls; and the ring after a change is the
// ring that a gate makes which has seen nothing else.
func TestOnlyTheMovedShareMoves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := func(label string) Spec {
			s := specOf(ConsistentHashing, rapid.SliceOfN(rapid.IntRange(0, 9), 1, 6).Draw(t, label)...)
			s.Slots = 500
			return s
		}
		weights := func(s Spec) map[string]int {
			w := map[string]int{}
			for _, target := range s.Targets {
				w[target.Host+":80"] = target.Weight
			}
			return w
		}
		from, to := spec("from"), spec("to")
		old, now := weights(from), weights(to)
		if sum(old) == 0 || sum(now) == 0 {
			t.Skip("nothing to own")
		}
		first := NewUpstream(from, Settings{}, nil)
		before := owners(t, first)
		after := owners(t, NewUpstream(to, Settings{}, first))
		for slot, owner := range owners(t, NewUpstream(to, Settings{}, nil)) {
			if after[slot] != owner {
				t.Fatalf("slot %d is %s's after a change and %s's on a new gate", slot, after[slot], owner)
			}
			if was := before[slot]; was != owner && now[owner] <= old[owner] && now[was] >= old[was] {
				t.Fatalf("slot %d moved from %s to %s, and neither fell nor rose", slot, was, owner)
			}
		}
	})
}

func sum(weights map[string]int) (n int) {
	for _, w := range weights {
		n += w
	}
	return n
}

// Slots follow weights, also those that a target leaves to the others.
func TestSlotsFollowWeights(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]int{{1, 1, 1}, {100, 50, 25, 25}, {1, 1000}} {
		u := NewUpstream(specOf(ConsistentHashing, weights...), Settings{}, nil)
		got := map[string]int{}
		total := 0
		for _, owner := range owners(t, u) {
			got[owner]++
		}
		for _, w := range weights {
			total += w
		}
		for i, w := range weights {
			want := 10000 * float64(w) / float64(total)
			if diff := math.Abs(float64(got[peer(i)]) - want); diff > 6*math.Sqrt(want)+1 {
				t.Errorf("of weights %v, target %d has %d slots, want about %.0f", weights, i, got[peer(i)], want)
			}
		}
	}
}

// A key stays with its target; while that is down it goes where it would without it, and comes back.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	spec := specOf(ConsistentHashing, 1, 1, 1, 1)
	spec.Health = checks()
	u, without := NewUpstream(spec, Settings{}, nil), specOf(ConsistentHashing, 1, 0, 1, 1)
	b, other := New(u, address), New(NewUpstream(without, Settings{}, nil), address)
	home := map[uint64]string{}
	moved := map[string]int{}
	look := func(b *Balancer[string], key uint64) string {
		var try Try
		defer try.End()
		try.SetKey(mixed(key))
		peer, err := b.Next(t.Context(), &try)
		if err != nil {
			t.Fatal(err)
		}
		return peer
	}
	for key := range uint64(1000) {
		home[key] = look(b, key)
	}
	down := &u.current.Load().seats[1].endpoint.health
	down.Passive(&u.spec.Health, failed())
	for key := range uint64(1000) {
		now := look(b, key)
		if want := look(other, key); now != want || home[key] != peer(1) && now != home[key] {
			t.Fatalf("key %d went to %s, then to %s; without its target it would go to %s", key, home[key], now, want)
		}
		if home[key] == peer(1) {
			moved[now]++
		}
	}
	if len(moved) != 3 {
		t.Errorf("the keys of a target that fell went to %v", moved)
	}
	down.Reset()
	for key, was := range home {
		if now := look(b, key); now != was {
			t.Fatalf("key %d came back to %s instead of %s", key, now, was)
		}
	}
}

// The hash is the same in every version and on every gate: a change would move all keys.
func TestHashIsFrozen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"": 0xc3817c016ba4ff30, "a": 0x5f29c2aadd9b8527, "alice": 0x1a046f573e1e5475} {
		if got := hashOf(text); got != want {
			t.Errorf("hashOf(%q) = %#x, want %#x", text, got, want)
		}
	}
	u := NewUpstream(specOf(ConsistentHashing, 10, 20, 30), Settings{}, nil)
	ring, _ := u.layout(t.Context(), 0).hashRing()
	if got := fmt.Sprint(ring.owners[:24]); got != "[0 1 0 0 2 0 1 0 1 2 2 2 2 1 2 1 1 2 0 2 2 1 1 2]" {
		t.Errorf("the ring begins %s", got)
	}
}

// An upstream whose targets led nowhere, or had no weight, serves as soon as one does.
func TestSeatsAfterNone(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{RoundRobin, LeastConnections, ConsistentHashing, Latency} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			none := NewUpstream(specOf(algorithm, 0), Settings{}, nil)
			if _, err := New(none, address).Next(t.Context(), new(Try)); !errors.Is(err, ErrNoPeer) {
				t.Fatalf("without a weight: %v", err)
			}
			var try Try
			defer try.End()
			if _, err := New(NewUpstream(specOf(algorithm, 1), Settings{}, none), address).Next(t.Context(), &try); err != nil {
				t.Fatalf("with one: %v", err)
			}
		})
	}
}
