package publish

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/shared/configset"
)

// neighbour is the publisher of another node over the same database, and all versions that it published.
type neighbour struct {
	publisher *Publisher
	feed      *changefeed.Feed
	mu        sync.Mutex
	versions  map[uint64]configset.Hash // guarded by mu
}

func (e *env) neighbour(poll time.Duration) *neighbour {
	feed := changefeed.New(e.store, changefeed.Options{Poll: poll})
	p := &neighbour{publisher: New(e.store, feed, e.catalog, e.fleet, testSchema(), slog.New(slog.DiscardHandler)), feed: feed, versions: map[uint64]configset.Hash{}}
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = p.publisher.Run(ctx) })
	parts.Go(func() {
		for ctx.Err() == nil {
			v, changed := p.publisher.environments.Of(wire.DefaultEnvironment).Newest()
			if v != nil {
				p.mu.Lock()
				if before, known := p.versions[v.Number]; known && before != v.Set.Hash() {
					e.t.Errorf("version %d has two contents on one node", v.Number)
				}
				p.versions[v.Number] = v.Set.Hash()
				p.mu.Unlock()
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	})
	e.t.Cleanup(func() { cancel(); parts.Wait() })
	return p
}

func (p *neighbour) caughtUp(e *env) *versions.Version {
	e.t.Helper()
	var v *versions.Version
	e.eventually("another node's publisher shows the newest revision", func() bool {
		head, err := e.store.Head(e.t.Context())
		e.must(err)
		v, _ = p.publisher.environments.Of(wire.DefaultEnvironment).Newest()
		return v != nil && p.publisher.Seen() == head
	})
	return v
}

func TestNodesPublishTheSameVersions(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("key-auth")
	a, b := e.neighbour(5*time.Millisecond), e.neighbour(20*time.Millisecond)
	var writers sync.WaitGroup
	for w := range uint64(3) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(w, 1))
			for i := range 25 {
				name := fmt.Sprintf("w%d-%d", w, i)
				e.insert("consumers", fmt.Sprintf(`{"username":%q}`, name))
				if random.IntN(2) == 0 {
					e.insertBelow("consumers", name, "keyauth_credentials", fmt.Sprintf(`{"key":%q}`, name))
				}
				if random.IntN(4) == 0 {
					_, err := e.catalog.Insert(t.Context(), catalog.Address{Table: "workspaces"}, e.doc(fmt.Sprintf(`{"name":%q}`, name)))
					e.must(err)
				}
				if random.IntN(3) == 0 {
					e.delete("consumers", name)
				}
			}
		})
	}
	writers.Wait()
	x, y := a.caughtUp(e), b.caughtUp(e)
	e.run() // reads the whole
	z := e.caughtUp()
	for _, other := range []*versions.Version{y, z} {
		if x.Epoch != other.Epoch || x.Number != other.Number || x.Set.Hash() != other.Set.Hash() || x.Emptied != other.Emptied {
			t.Fatalf("nodes end at epoch %d version %d and epoch %d version %d, equal content: %v",
				x.Epoch, x.Number, other.Epoch, other.Number, x.Set.Hash() == other.Set.Hash())
		}
		mine, err := x.Snapshot()
		e.must(err)
		theirs, err := other.Snapshot()
		e.must(err)
		if diff := cmp.Diff(mine, theirs, protocmp.Transform()); diff != "" {
			t.Errorf("nodes send other bytes:\n%s", diff)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	both := 0
	for number, hash := range a.versions {
		if other, known := b.versions[number]; known {
			if both++; other != hash {
				t.Errorf("version %d is another configuration on another node", number)
			}
		}
	}
	if both == 0 {
		t.Error("no version was published by both nodes")
	}
}

func TestAVersionIsTheNewestRevisionThatConcernsDataPlanes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	other := e.neighbour(5 * time.Millisecond)
	same := func(when string) uint64 {
		t.Helper()
		loaded, followed := e.neighbour(time.Hour).caughtUp(e), other.caughtUp(e)
		if loaded.Number != followed.Number || loaded.Set.Hash() != followed.Set.Hash() {
			t.Errorf("%s: one node has version %d, the other %d, equal content: %v", when, loaded.Number, followed.Number, loaded.Set.Hash() == followed.Set.Hash())
		}
		return loaded.Number
	}
	fresh := same("a new database")
	e.insert("consumers", `{"username":"bob"}`)
	inserted := same("an entity")
	_, err := e.catalog.Insert(t.Context(), catalog.Address{Table: "workspaces"}, e.doc(`{"name":"other"}`))
	e.must(err)
	if n := same("a workspace"); n != inserted || inserted <= fresh {
		t.Errorf("versions %d, %d and %d: a workspace reaches no data plane", fresh, inserted, n)
	}
	e.update("consumers", "bob", `{"custom_id":"1"}`)
	e.update("consumers", "bob", `{"custom_id":null}`) // as it was, but for the time
	if n := same("two updates"); n <= inserted {
		t.Errorf("version %d follows %d", n, inserted)
	}
	for i := range 3 {
		_, err := e.catalog.Insert(t.Context(), catalog.Address{Table: "workspaces"}, e.doc(fmt.Sprintf(`{"name":"other%d"}`, i)))
		e.must(err)
	}
	head, err := e.store.Head(t.Context())
	e.must(err)
	e.must(e.store.Trim(t.Context(), head))
	if loaded, followed := e.neighbour(time.Hour).caughtUp(e), other.caughtUp(e); loaded.Number != head-1 || loaded.Set.Hash() != followed.Set.Hash() {
		t.Errorf("version %d after a trim to revision %d", loaded.Number, head)
	}
}

func TestARaisedEpochReachesTheOtherNodes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	polls, hinted := e.neighbour(5*time.Millisecond), e.neighbour(time.Hour)
	polls.caughtUp(e)
	hinted.caughtUp(e)
	epoch, err := epoch.Raise(t.Context(), e.store) // by the Admin API of a third node
	e.must(err)
	e.eventually("the epoch shows at the next poll", func() bool { return polls.caughtUp(e).Epoch == epoch })
	hinted.feed.Wake() // its next poll is an hour away
	e.eventually("the epoch shows at the hint", func() bool { return hinted.caughtUp(e).Epoch == epoch })
	hinted.publisher.Reload()
	e.eventually("it reads everything again when asked", func() bool { return !hinted.publisher.asked.Load() })
}

// A key that comes back to one node changes what it publishes without a revision; the other nodes follow with theirs.
func TestNodesWithDifferentKeysAgreeInTheEnd(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.checks("basic-auth")
	e.insert("consumers", `{"username":"bob"}`)
	e.insertBelow("consumers", "bob", "basicauth_credentials", `{"username":"bob","password":"one"}`)
	full := e.neighbour(5 * time.Millisecond).caughtUp(e)
	key := e.rotate()
	e.keys.set(func(l *losing) { l.missing[key] = true })
	e.run()
	if v := e.caughtUp(); v.Number != full.Number || v.Set.Hash() == full.Set.Hash() || e.publisher.Kept().Keys[key] == 0 {
		t.Fatalf("without a key it publishes version %d of %d, kept %+v", v.Number, full.Number, e.publisher.Kept())
	}
	e.keys.set(func(l *losing) { delete(l.missing, key) })
	e.feed.Wake()
	e.eventually("it publishes the same as the other", func() bool { return e.caughtUp().Set.Hash() == full.Set.Hash() })
	if v := e.caughtUp(); v.Number != full.Number {
		t.Errorf("version %d, the other node's is %d", v.Number, full.Number)
	}
}
