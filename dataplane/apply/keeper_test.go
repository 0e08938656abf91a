package apply

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

// kept is a keeper over a real store in a folder.
type kept struct {
	*StoreKeeper
	t    *testing.T
	disk *localstore.Store
	dir  string
	keys *localkeys.Ring
	log  bytes.Buffer
	held Opened
}

func newKept(t *testing.T) *kept {
	t.Helper()
	keys, err := localkeys.New(secret.Take(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{t: t, dir: t.TempDir(), keys: keys}
	k.open()
	return k
}

func (k *kept) open() (found localstore.State) {
	k.t.Helper()
	log := slog.New(slog.NewTextHandler(&k.log, nil))
	store, found, err := localstore.Open(k.dir, localstore.Options{Mode: localstore.AES256GCM, Keys: k.keys, Node: "n", Verify: k.held.Verify, Log: log})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { store.Close() })
	k.StoreKeeper = NewStoreKeeper(store, schema.New(plugins.All()), "prod", log)
	k.disk = store
	return found
}

// reopens asserts what a restart begins with.
func (k *kept) reopens(want State) {
	k.t.Helper()
	if err := k.disk.Close(); err != nil {
		k.t.Fatal(err)
	}
	found := k.open()
	if found.Version != want.Version || found.Epoch != want.Epoch || k.held.Set.Hash() != want.Set.Hash() {
		k.t.Fatalf("a restart begins with epoch %d version %d of %d entries, want version %d of %d",
			found.Epoch, found.Version, k.held.Set.Len(), want.Version, want.Set.Len())
	}
}

func (k *kept) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) snapshots() int {
	k.t.Helper()
	found, err := filepath.Glob(filepath.Join(k.dir, "snapshot-*"))
	k.must(err)
	newest := 0
	for _, name := range found {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(name), "snapshot-%x", &number); err == nil {
			newest = max(newest, number)
		}
	}
	return newest
}

// next is the state that follows with one entry put.
func next(s State, e configset.Entry) (State, configset.Delta) {
	return State{Epoch: s.Epoch, Version: s.Version + 1, Set: s.Set.Put(e)}, configset.Delta{Puts: []configset.Entry{e}}
}

func small(id string) configset.Entry {
	return configset.Entry{Kind: "routes", ID: id, Body: []byte("body of " + id)}
}

func TestKeeperKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	state := State{Epoch: 3, Version: 1, Set: configset.Set{}.Put(small("a")).Put(small("b"))}
	k.must(k.Replace(state))
	k.reopens(state)
	state, delta := next(state, small("c"))
	k.must(k.Append(state, delta))
	// The node ends before its ack leaves: it says what it holds when it links again.
	k.reopens(state)
	gone := State{Epoch: 3, Version: 3, Set: state.Set.Delete("routes", "a")}
	k.must(k.Append(gone, configset.Delta{Deletes: []configset.Ref{{Kind: "routes", ID: "a"}}}))
	k.reopens(gone)
}

func TestKeeperWithoutAJournalWritesASnapshot(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	state, delta := next(State{Epoch: 1, Set: configset.Set{}.Put(small("a"))}, small("b"))
	k.must(k.Append(state, delta)) // a new store has no snapshot to append to
	if !strings.Contains(k.log.String(), "writing a whole snapshot") {
		t.Error("the log does not say what happened")
	}
	k.reopens(state)

	k.must(k.disk.Close())
	state, delta = next(state, small("c"))
	if err := k.Append(state, delta); err == nil {
		t.Fatal("a closed store acknowledges a change")
	}
}

func TestKeeperSaysWhenTheDiskTakesNothing(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	state := State{Epoch: 1, Version: 1, Set: configset.Set{}.Put(small("a"))}
	k.must(k.Replace(state))
	k.must(os.RemoveAll(k.dir))
	k.must(os.WriteFile(k.dir, nil, 0o600))
	after, delta := next(state, small("b"))
	if err := k.Replace(after); err == nil {
		t.Error("a store without its folder acknowledges a state")
	}
	if err := k.Append(after, delta); err == nil {
		t.Error("a store without its folder acknowledges a change")
	}
	k.must(os.Remove(k.dir))
	k.must(k.Append(after, delta)) // what was in the way is gone: the folder is made again
	k.reopens(after)
}

func TestKeeperFoldsALongJournal(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	state := State{Epoch: 1, Version: 1, Set: configset.Set{}.Put(small("a"))}
	k.must(k.Replace(state))
	first := k.snapshots()
	noise := rand.NewChaCha8([32]byte{1})
	for i := 0; k.snapshots() == first; i++ {
		if i > 40 {
			t.Fatal("the journal was never folded")
		}
		body := make([]byte, 256<<10)
		noise.Read(body)
		var delta configset.Delta
		state, delta = next(state, configset.Entry{Kind: "routes", ID: "large", Body: body})
		k.must(k.Append(state, delta))
	}
	if k.store.Due() {
		t.Error("the store is still due after the fold")
	}
	k.reopens(state)
}

func TestKeeperSealsEachKindWithItsKey(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	tests := map[string]localkeys.Class{
		"routes": localkeys.Contract, "services": localkeys.Contract, "plugins": localkeys.Contract,
		"keyauth_credentials": localkeys.KMS, "basicauth_credentials": localkeys.KMS, "certificates": localkeys.KMS,
		"fingerprint_keys": localkeys.KMS, "of_a_later_release": localkeys.KMS, "": localkeys.KMS,
	}
	for kind, want := range tests {
		if got := k.section(configset.Entry{Kind: kind}, configset.Set{}).Class; got != want {
			t.Errorf("%q is sealed as %s, want %s", kind, got, want)
		}
	}
}

func TestKeeperRefusesAStateThatIsNotWhatItClaims(t *testing.T) {
	t.Parallel()
	var held Opened
	set := configset.Set{}.Put(small("a"))
	claim := localstore.State{Hash: set.Hash(), Entries: func(yield func(localstore.Entry) bool) {
		yield(localstore.Entry{Kind: "routes", ID: "a", Bytes: []byte("\x00other")})
	}}
	if held.Verify(claim) == nil {
		t.Error("another body has the same hash")
	}
	if held.Verify(localstore.State{}) != nil {
		t.Error("an empty store is refused")
	}
}
