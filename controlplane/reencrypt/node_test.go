package reencrypt_test

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
)

// Record implements reencrypt.Journal.
func (e *env) Record(_ context.Context, action, _ string, detail ...string) error {
	entries := []string{action}
	if len(detail) > 0 {
		entries = append(entries, action+" "+strings.Join(detail, " "))
	}
	for _, entry := range entries {
		count, _ := e.entries.LoadOrStore(entry, new(atomic.Int32))
		count.(*atomic.Int32).Add(1)
	}
	return nil
}

func (e *env) recorded(action string) int {
	count, found := e.entries.Load(action)
	if !found {
		return 0
	}
	return int(count.(*atomic.Int32).Load())
}

// mortal is a store that a dead process no longer reaches.
type mortal struct {
	reencrypt.Store
	dead atomic.Bool
}

var errDead = fault.Newf(fault.Unavailable, "test", "", "this process is dead")

func (m *mortal) SwapMeta(ctx context.Context, name string, old *string, value string) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.SwapMeta(ctx, name, old, value)
}

func (m *mortal) Reseal(ctx context.Context, table string, rows []record.Resealed) ([]string, error) {
	if m.dead.Load() {
		return nil, errDead
	}
	return m.Store.Reseal(ctx, table, rows)
}

// node is one running process.
type node struct {
	*reencrypt.Job
	e     *env
	id    string
	store *mortal
	stop  context.CancelFunc
	ended chan struct{}
}

// run starts a node with the present cipher.
func (e *env) run(id string, options reencrypt.Options) *node {
	e.t.Helper()
	var store reencrypt.Store = e.store
	if e.path != "" {
		store = e.store.(*sqlite.Store) // which can scrub
	}
	return e.runOn(store, id, options)
}

func (e *env) runOn(store reencrypt.Store, id string, options reencrypt.Options) *node {
	e.t.Helper()
	n := &node{e: e, id: id, store: &mortal{Store: store}, ended: make(chan struct{})}
	options.Journal, options.Poll = e, 5*time.Millisecond
	options.Log = slog.New(slog.NewTextHandler(e.t.Output(), nil))
	if options.Batch == 0 {
		options.Batch = 20
	}
	if options.Save == 0 {
		options.Save = 20 * time.Millisecond
	}
	options.Live = func(context.Context) (ids []string, err error) {
		e.alive.Range(func(id, _ any) bool {
			ids = append(ids, id.(string))
			return true
		})
		return ids, nil
	}
	store = n.store
	if scrubs, can := n.store.Store.(scrubber); can {
		store = scrubbing{n.store, scrubs}
	}
	n.Job = reencrypt.New(store, e.catalog, e.cipher, id, options)
	e.alive.Store(id, true)
	ctx, stop := context.WithCancel(context.WithoutCancel(e.t.Context()))
	n.stop = stop
	go func() {
		defer close(n.ended)
		_ = n.Run(ctx) // it ends with ctx alone
	}()
	e.t.Cleanup(func() {
		stop()
		<-n.ended
	})
	return n
}

// scrubbing keeps a store's Scrub visible.
type scrubbing struct {
	*mortal
	scrubber
}

type scrubber interface {
	Scrub(ctx context.Context) error
}

// kill is kill -9: nothing more is written, and its lease ends.
func (n *node) kill() {
	n.store.dead.Store(true)
	n.stop()
	<-n.ended
	n.e.alive.Delete(n.id)
}

func (e *env) begin(n *node, request reencrypt.Request) {
	e.t.Helper()
	if _, err := n.Start(e.t.Context(), request); err != nil {
		e.t.Fatal(err)
	}
}

// await waits until the job is as a test wants it.
func (e *env) await(n *node, what string, is func(reencrypt.Progress) bool) reencrypt.Progress {
	e.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		p, _, err := n.Progress(e.t.Context())
		if err == nil && is(p) {
			return p
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("never %s: %+v, %v", what, p, err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (e *env) awaitDone(n *node) reencrypt.Progress {
	e.t.Helper()
	p := e.await(n, "done", func(p reencrypt.Progress) bool { return p.State != reencrypt.Running })
	if p.State != reencrypt.Done {
		e.t.Fatalf("it ended %s: %s", p.State, p.Reason)
	}
	return p
}
