package keyring_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestRunFollowsTheHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var announced, followed atomic.Int64
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{Announce: func() { announced.Add(1) }})
		follower := w.nodes[1]
		if err := follower.Follow(t.Context(), func(context.Context) error { followed.Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- follower.Run(ctx) }()
		synctest.Wait()
		give(t, w.nodes[0], follower, "node 0")
		if followed.Load() != 2 {
			t.Errorf("followed %d times, want once more for new material", followed.Load())
		}
		before := announced.Load()
		second := w.generate(0)
		if announced.Load() != before+1 {
			t.Error("a new key was not announced")
		}
		synctest.Wait()
		if len(follower.Wanted()) != 0 {
			t.Fatal("the node knows of the key without having looked")
		}
		follower.Wake()
		synctest.Wait()
		if wanted := follower.Wanted(); len(wanted) != 1 || wanted[0] != second {
			t.Errorf("after Wake the node wants %v, want %s", wanted, second)
		}
		give(t, w.nodes[0], follower, "node 0")
		if err := w.nodes[0].Activate(t.Context(), second, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // nobody wakes it
		if follower.Keys().Active != second {
			t.Errorf("active %s, want %s", follower.Keys().Active, second)
		}
		w.lose(1)
		time.Sleep(time.Minute)
		w.regain(1)
		time.Sleep(6 * time.Second)
		if _, _, err := follower.Active(); err != nil {
			t.Errorf("Active after the database was away = %v", err)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// unsure commits and says that it may not have, or does not and says the same.
type unsure struct {
	keyring.Store
	commits bool
	times   int
}

func (s *unsure) ChangeKeyring(ctx context.Context, ring string, old *string, head string, keys []record.Key) error {
	if s.times--; s.times < 0 {
		return s.Store.ChangeKeyring(ctx, ring, old, head, keys)
	}
	if s.commits {
		if err := s.Store.ChangeKeyring(ctx, ring, old, head, keys); err != nil {
			return err
		}
	}
	return fault.Newf(fault.Unavailable, "keyring_test", "", "the connection broke")
}

func TestACommitWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	for name, commits := range map[string]bool{"committed": true, "not committed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &unsure{Store: &keyringtest.Store{}, commits: commits}
			w := newTown(t, store, 1, keyring.Options{})
			store.times = 1
			id, _, err := w.nodes[0].Generate(t.Context())
			kr, _ := store.Keyring(t.Context(), "")
			if commits && (err != nil || len(kr.Keys) != 2 || stateOf(w.nodes[0], id).State != "standby") {
				t.Errorf("Generate = %q, %v with %d rows", id, err, len(kr.Keys))
			}
			if !commits && (fault.KindOf(err) != fault.Unavailable || len(kr.Keys) != 1 || len(w.nodes[0].Held()) != 1) {
				t.Errorf("Generate = %q, %v with %d rows", id, err, len(kr.Keys))
			}
		})
	}
}

func TestRehearsalWithoutCertificates(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	ring := open(t, store, recoverable(t, recoveryKey()), keyring.Options{})
	kr, err := store.Keyring(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range kr.Keys {
		kr.Keys[i].Signature = nil
	}
	result, err := keyring.Rehearse(kr, "", nil, recoverable(t, recoveryKey()), privatePEM(recoveryKey()), nil)
	if err != nil || len(result.Recovered) != 1 || result.Active != ring.Keys().Active {
		t.Errorf("Rehearse = %+v, %v", result, err)
	}
	if result, err = keyring.Rehearse(kr, "", keyringtest.Prover("peers"), recoverable(t, recoveryKey()), privatePEM(recoveryKey()), nil); err != nil || len(result.NotRecovered) != 1 {
		t.Errorf("Rehearse with proofs = %+v, %v", result, err)
	}
}
