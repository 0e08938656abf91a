package kms_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/record"
)

// tester is a test, or one history of a property test.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Context() context.Context
}

// node is one control plane node with its own plugin.
type node struct {
	name   string
	plugin *plugin
	keeper *kms.Keeper
	ring   *keyring.Ring
	stop   func()
}

// town is some nodes on one database.
type town struct {
	t       tester
	store   *keyringtest.Store
	backend *backend
	journal journal
	options kms.Options
	rows    func(ctx context.Context, id string) ([]record.SealedCount, error)

	mu    sync.Mutex
	nodes []*node // guarded by mu
}

type journal struct {
	mu      sync.Mutex
	entries []string // guarded by mu
}

func (j *journal) Record(_ context.Context, action, subject string, detail ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprint(action, " ", subject, " ", detail))
	return nil
}

func newTown(t tester, count int) *town {
	t.Helper()
	w := &town{t: t, store: &keyringtest.Store{}, backend: &backend{sealed: map[string]wrapping{}, lost: map[string]bool{}}}
	for i := range count {
		w.nodes = append(w.nodes, &node{name: fmt.Sprint("node-", i), plugin: &plugin{
			backend: w.backend, keyID: "A", calls: map[string]int{}, asked: map[string]int{},
		}})
	}
	return w
}

// start runs a node; what one before it held is forgotten.
func (w *town) start(i int) *node {
	w.t.Helper()
	n := w.open(i)
	w.run(n)
	return n
}

// run runs the parts of a node that is open.
func (w *town) run(n *node) {
	stop := running(w.t.Context(), n.keeper, n.ring)
	w.mu.Lock()
	defer w.mu.Unlock()
	n.stop = stop
}

// open makes a node a member that does nothing yet.
func (w *town) open(i int) *node {
	w.t.Helper()
	w.mu.Lock()
	n := w.nodes[i]
	w.mu.Unlock()
	w.end(i)
	keeper := kms.New(provider, n.plugin, w.options)
	ring, err := keyring.Open(w.t.Context(), w.store, keeper, keyringtest.Prover("peers"), keyring.Options{
		Cluster: clusterID, Ring: ringName, Node: n.name, Members: w, Sealing: keeper.Sealing, Journal: &w.journal, References: w.rows,
		Announce: func() { w.hint(n.name) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n.keeper, n.ring = keeper, ring
	return n
}

// running runs a node's parts until stop is called.
func running(ctx context.Context, keeper *kms.Keeper, ring *keyring.Ring) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, run := range []func(context.Context) error{ring.Run, func(ctx context.Context) error { return keeper.Run(ctx, ring) }} {
		all.Go(func() { _ = run(ctx) })
	}
	return func() { cancel(); all.Wait() }
}

// end stops a node that runs.
func (w *town) end(i int) {
	w.mu.Lock()
	n := w.nodes[i]
	stop := n.stop
	n.ring, n.stop = nil, nil
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}

func (w *town) endAll() {
	for i := range w.nodes {
		w.end(i)
	}
}

// startAll starts nodes that know of each other before any of them acts.
func (w *town) startAll() {
	for i := range w.nodes {
		w.open(i)
	}
	for _, n := range w.nodes {
		w.run(n)
	}
}

// hint wakes the rings of the others.
func (w *town) hint(from string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if n.ring != nil && n.name != from {
			n.ring.Wake()
		}
	}
}

// Live makes the town the members of its rings.
func (w *town) Live(context.Context) (live []keyring.Member, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if n.ring != nil {
			m := keyring.Member{Node: n.name, Name: n.name}
			m.Sequence, m.Holds, m.Joined = n.ring.Presence()
			live = append(live, m)
		}
	}
	return live, nil
}

// every tells all plugins something.
func (w *town) every(change func(p *plugin)) {
	for _, n := range w.nodes {
		n.plugin.set(change)
	}
}

// active is what all nodes that run agree on, and seal under.
func (w *town) active() string {
	w.t.Helper()
	id := ""
	for _, n := range w.nodes {
		if n.ring == nil {
			continue
		}
		got, _, err := n.ring.Active()
		if err != nil || (id != "" && got != id) {
			w.t.Fatalf("%s: Active = %q, %v, another node says %q", n.name, got, err, id)
		}
		id = got
	}
	return id
}

// keys are the key_ids under which the ring's keys are wrapped, oldest first.
func (w *town) keys() (keyIDs []string) {
	for _, row := range w.store.StoredOf(ringName).Keys {
		keyIDs = append(keyIDs, keyIDOf(row))
	}
	return keyIDs
}

func (w *town) expectKeys(want ...string) {
	w.t.Helper()
	if got := w.keys(); !slices.Equal(got, want) {
		w.t.Errorf("keys of the periods %q, want %q", got, want)
	}
}

func keyIDOf(row record.Key) string {
	id, err := kms.KeyIDOf(row)
	if err != nil {
		return "?"
	}
	return id
}

func stateOf(ring *keyring.Ring, id string) keyring.KeyStatus {
	for _, key := range ring.Status().Keys {
		if key.ID == id {
			return key
		}
	}
	return keyring.KeyStatus{}
}
