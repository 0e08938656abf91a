package keyring_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestLocalSurvivesARestart(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	var log bytes.Buffer
	ring := open(t, store, local.New(path), keyring.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "Whoever takes both files") {
		t.Errorf("the notice does not say what the key file protects against: %s", log.String())
	}
	text := sealWith(t, ring)
	first := ring.Keys()
	if len(first.IDs) != 1 || first.Active != first.IDs[0] {
		t.Fatalf("Keys = %+v, want one active key", first)
	}
	again := open(t, store, local.New(path), keyring.Options{})
	if err := opens(again, text); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if diff := cmp.Diff(first, again.Keys()); diff != "" {
		t.Errorf("Keys after a restart (-before +after):\n%s", diff)
	}
	if status := again.Status(); status.State != "ready" || status.Strategy != "local" || status.Keys[0].ActivatedAt == 0 || status.Keys[0].CreatedAt == 0 {
		t.Errorf("Status = %+v", status)
	}
}

func TestUnreferencedLostKeyIsReplaced(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	count := 0
	options := keyring.Options{References: func(ctx context.Context, id string) ([]record.SealedCount, error) { return counting(count)(ctx, id) }}
	lost := open(t, store, cluster.New(nil), options).Keys().Active
	ring := open(t, store, cluster.New(nil), options)
	if active := ring.Keys().Active; active == "" || active == lost || !ring.Lost(lost) || ring.Status().State != "ready" {
		t.Errorf("active %q after %q was lost; Status = %+v", active, lost, ring.Status())
	}
	count = 1
	if ring = open(t, store, cluster.New(nil), options); ring.Status().State != "missing" {
		t.Errorf("a key with references was replaced: %+v", ring.Status())
	}
	kr, err := store.Keyring(t.Context(), "")
	if err != nil || len(kr.Keys) != 2 {
		t.Errorf("%d key rows (%v), want both: ids stay taken", len(kr.Keys), err)
	}
}

func TestFirstStartOfSeveralNodes(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	var wait sync.WaitGroup
	actives := make([]string, 6)
	for i := range actives {
		wait.Go(func() {
			ring, err := keyring.Open(context.Background(), store, local.New(path), nil, keyring.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			actives[i] = ring.Keys().Active
		})
	}
	wait.Wait()
	for _, active := range actives {
		if active != actives[0] || active == "" {
			t.Fatalf("active keys differ: %v", actives)
		}
	}
	if kr, err := store.Keyring(t.Context(), ""); err != nil || len(kr.Keys) != 1 {
		t.Errorf("%d keys (%v), want one", len(kr.Keys), err)
	}
}

// interrupted lets something happen between the first read of the ring and what is written over it.
type interrupted struct {
	keyring.Store
	once      sync.Once
	interrupt func()
}

func (s *interrupted) Keyring(ctx context.Context, ring string) (record.Keyring, error) {
	defer s.once.Do(s.interrupt)
	return s.Store.Keyring(ctx, ring)
}

func TestAnotherNodeMakesTheFirstKeyMeanwhile(t *testing.T) {
	t.Parallel()
	store, keeper := newStore(t), local.New(filepath.Join(t.TempDir(), "keyring.key"))
	var other *keyring.Ring
	ring := open(t, &interrupted{Store: store, interrupt: func() { other = open(t, store, keeper, keyring.Options{}) }}, keeper, keyring.Options{})
	if id, _, err := ring.Active(); err != nil || id != other.Keys().Active {
		t.Errorf("Active = %q, %v, want the other node's %q", id, err, other.Keys().Active)
	}
}

func TestReloadFindsAKeyFileThatWasPutBack(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	text := sealWith(t, open(t, store, local.New(path), keyring.Options{}))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	ring := open(t, store, local.New(path), keyring.Options{References: counting(0)})
	status := ring.Status()
	if status.State != "missing" || !strings.Contains(strings.Join(status.Warnings, " "), "put it back") {
		t.Errorf("Status = %+v, want missing with advice", status)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a new key file appeared")
	}
	if _, _, err := ring.Generate(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Generate without the key file = %v, want unavailable", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := ring.Reload(t.Context()); err != nil || opens(ring, text) != nil || ring.Status().State != "ready" {
		t.Errorf("Reload = %v, then %v and %+v", err, opens(ring, text), ring.Status())
	}
}
