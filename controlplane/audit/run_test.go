package audit_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
)

func runFor(t testing.TB, j *audit.Journal, length time.Duration) {
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	if err := j.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v", err)
	}
}

// said collects the heads that a journal gives away.
type said struct {
	mu    sync.Mutex
	heads [][]byte
	at    []time.Time
}

func (s *said) say(head []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads, s.at = append(s.heads, head), append(s.at, time.Now())
}

// A head is said within a second of what it is of, and then now and then for those who missed it.
func TestHeadsAreSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s said
		j := open(t, &memory{}, audit.Options{HeadsPath: headsPath(t), Prover: prover{"k"}, Say: s.say})
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			runFor(t, j, 2*time.Minute)
		}()
		time.Sleep(10*time.Second + time.Millisecond)
		say(t, j, "a", "b", "c")
		<-done
		var got []string
		for i, text := range s.heads {
			h, err := heads.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if h.Cluster != cluster || h.Node != node || (prover{"k"}).Check(heads.Context, h.Message(), h.Proof) != nil {
				t.Errorf("head %+v", h)
			}
			got = append(got, fmt.Sprint(h.Sequence, " ", s.at[i].Sub(began).Round(time.Second)))
		}
		want := []string{"1 0s", "4 11s", "4 41s", "4 1m11s", "4 1m41s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("heads said (-want +got):\n%s", diff)
		}
	})
}

func TestHeard(t *testing.T) {
	t.Parallel()
	const from = "keepgate://control-plane/acme/-/cp-2"
	peer := func(change func(*heads.Head), p prover) []byte {
		h := heads.Head{Cluster: cluster, Node: "node-2", Sequence: 7, Hash: make([]byte, 32), At: 1_700_000_000_000}
		change(&h)
		h.Proof, _ = p.Prove(heads.Context, h.Message())
		return h.Encode()
	}
	same := func(*heads.Head) {}
	tests := map[string]struct {
		from, node string
		data       []byte
		held       int
	}{
		"a peer's head":           {from, "node-2", peer(same, prover{"k"}), 1},
		"signed by somebody else": {from, "node-2", peer(same, prover{"other"}), 0},
		"of another node":         {from, "node-3", peer(same, prover{"k"}), 0},
		"of this node":            {from, node, peer(func(h *heads.Head) { h.Node = node }, prover{"k"}), 0},
		"of another database":     {from, "node-2", peer(func(h *heads.Head) { h.Cluster = "other" }, prover{"k"}), 0},
		"from nobody":             {"", "node-2", peer(same, prover{"k"}), 0},
		"changed on the way":      {from, "node-2", append(peer(same, prover{"k"}), ' '), 0},
		"no head":                 {from, "node-2", []byte("{}"), 0},
	}
	for name, test := range tests {
		j := open(t, &memory{}, audit.Options{Prover: prover{"k"}})
		j.Heard(test.from, test.node, test.data)
		if held := j.Heads(); len(held) != test.held {
			t.Errorf("%s: %d heads are held, want %d", name, len(held), test.held)
		}
	}
	j := open(t, &memory{}, audit.Options{})
	if j.Heard(from, "node-2", peer(same, prover{"k"})); len(j.Heads()) != 0 {
		t.Error("a node that can check no proof took a head")
	}
}

// A node that contradicts itself is found out by its peers, and both heads are kept over a restart.
func TestHeardContradiction(t *testing.T) {
	t.Parallel()
	const from = "keepgate://control-plane/acme/-/cp-2"
	log, logged := newLog()
	path := headsPath(t)
	options := audit.Options{Prover: prover{"k"}, HeadsPath: path, Log: log}
	j := open(t, &memory{}, options)
	hear := func(from string, sequence uint64, hash byte, at int64) {
		h := heads.Head{Cluster: cluster, Node: "node-2", Sequence: sequence, Hash: append(make([]byte, 31), hash), At: at}
		h.Proof, _ = (prover{"k"}).Prove(heads.Context, h.Message())
		j.Heard(from, "node-2", h.Encode())
	}
	hear(from, 5, 1, 1000)
	hear(from, 9, 2, 3000)
	hear(from, 9, 2, 4000) // said again
	hear(from, 7, 3, 2000) // came late
	if logged.count() != 0 {
		t.Fatalf("logged %q", logged.errors)
	}
	hear("keepgate://control-plane/acme/-/cp-3", 10, 1, 5000)
	hear(from, 5, 4, 1000)
	hear(from, 6, 5, 6000) // later than 9
	hear(from, 6, 5, 7000)
	if logged.count() != 3 {
		t.Errorf("logged %q", logged.errors)
	}
	settle(t, j)
	j = open(t, &memory{}, options)
	var got []string
	for _, h := range j.Heads() {
		if h.Node == "node-2" {
			got = append(got, fmt.Sprint(h.Sequence, h.Hash[31], h.Conflict))
		}
	}
	want := []string{"9 2 false", "5 4 true", "6 5 true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("heads held (-want +got):\n%s", diff)
	}
}

// Refusals wait for the database, and their number is not lost.
func TestRefusalsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		j := open(t, store, audit.Options{})
		store.before = true
		done := make(chan struct{})
		go func() {
			defer close(done)
			runFor(t, j, 10*time.Second)
		}()
		for range 5 {
			for range 8 {
				j.Refused(t.Context(), "access.deny", "/services", "method", "GET")
			}
			time.Sleep(time.Second)
		}
		store.set(func() { store.before = false })
		<-done
		counts := map[string]int{}
		for _, e := range store.rows {
			body, err := audit.ParseBody(e.Body)
			if err != nil {
				t.Fatal(err)
			}
			counts[body.Action+body.Detail.Value("refusals")]++
		}
		if diff := cmp.Diff(map[string]int{"audit.start": 1, "access.deny": 10, "audit.omitted30": 1}, counts); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
	})
}
