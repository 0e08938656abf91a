package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const clusterID = "5d1c"

// tester is a test, or one history of a property test.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Context() context.Context
}

// town is some nodes on one database.
type town struct {
	t       tester
	store   keyring.Store
	nodes   []*keyring.Ring
	names   []string
	away    map[string]bool // guarded by mu
	mu      sync.Mutex
	signers []*signer
	journal journal
	keeper  keyring.Keeper
	options keyring.Options
}

func newTown(t tester, store keyring.Store, count int, options keyring.Options) *town {
	t.Helper()
	var list []string
	for i := range count {
		list = append(list, fmt.Sprintf("node %d", i))
	}
	w := &town{t: t, store: store, nodes: make([]*keyring.Ring, count), names: list, away: map[string]bool{}, signers: signers(list...), keeper: cluster.New(nil), options: options}
	for i := range count {
		w.start(i)
	}
	return w
}

// start opens a ring on a node; what one before it held is forgotten.
func (w *town) start(i int) {
	w.t.Helper()
	options := w.options
	options.Cluster, options.Node, options.Journal, options.Members = clusterID, w.names[i], &w.journal, w
	if options.References == nil {
		options.References = counting(0)
	}
	w.mu.Lock()
	w.nodes[i] = nil
	w.mu.Unlock()
	ring, err := keyring.Open(w.t.Context(), gate{w.store, w, w.names[i]}, w.keeper, w.signers[i], options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.nodes[i] = ring
	w.mu.Unlock()
}

// gate is a node's way to the database.
type gate struct {
	keyring.Store
	town *town
	node string
}

func (g gate) closed() error {
	g.town.mu.Lock()
	defer g.town.mu.Unlock()
	if g.town.away[g.node] {
		return fault.Newf(fault.Unavailable, "keyring_test", "", "the database is away")
	}
	return nil
}

func (g gate) Keyring(ctx context.Context, ring string) (record.Keyring, error) {
	if err := g.closed(); err != nil {
		return record.Keyring{}, err
	}
	return g.Store.Keyring(ctx, ring)
}

func (g gate) ChangeKeyring(ctx context.Context, ring string, old *string, head string, keys []record.Key) error {
	if err := g.closed(); err != nil {
		return err
	}
	return g.Store.ChangeKeyring(ctx, ring, old, head, keys)
}

// Live makes the town the members of its rings.
func (w *town) Live(context.Context) (live []keyring.Member, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, ring := range w.nodes {
		if ring == nil || w.away[w.names[i]] {
			continue
		}
		m := keyring.Member{Node: w.names[i], Name: "host" + w.names[i][5:]}
		m.Sequence, m.Holds, m.Joined = ring.Presence()
		live = append(live, m)
	}
	return live, nil
}

func (w *town) pass() {
	w.t.Helper()
	for _, ring := range w.nodes {
		if ring != nil {
			if err := ring.Pass(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// exchange lets every node ask every other one for what it lacks.
func (w *town) exchange() {
	w.t.Helper()
	for i, asking := range w.nodes {
		for j, giving := range w.nodes {
			if asking != nil && giving != nil && asking != giving {
				give(w.t, giving, asking, w.names[j], w.names[i])
			}
		}
	}
}

func give(t tester, from, to *keyring.Ring, names ...string) {
	t.Helper()
	material := lent(from, to.Wanted())
	if len(material) == 0 {
		return
	}
	if accepted, err := to.Accept(t.Context(), names[0], material); err != nil || len(accepted) == 0 {
		t.Fatalf("Accept = %v, %v", accepted, err)
	}
}

func lent(from *keyring.Ring, ids []string) map[string]secret.Bytes {
	material := map[string]secret.Bytes{}
	from.Lend(ids, func(id string, m secret.Bytes) {
		m.Reveal(func(data []byte) { material[id] = secret.Take(bytes.Clone(data)) })
	})
	return material
}

// settle brings all nodes to the same ring.
func (w *town) settle() {
	w.t.Helper()
	for range 3 {
		w.pass()
		w.exchange()
	}
}

func (w *town) generate(i int) string {
	w.t.Helper()
	id, material, err := w.nodes[i].Generate(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	material.Wipe()
	return id
}

func (w *town) rotate(i int) string {
	w.t.Helper()
	id := w.generate(i)
	w.settle()
	if err := w.nodes[i].Activate(w.t.Context(), id, false); err != nil {
		w.t.Fatal(err)
	}
	w.settle()
	return id
}

// active is what all nodes agree on.
func (w *town) active() string {
	w.t.Helper()
	id := w.nodes[0].Keys().Active
	for i, ring := range w.nodes {
		if got := ring.Keys().Active; got != id || got == "" {
			w.t.Fatalf("%s: active %q, node 0 says %q", w.names[i], got, id)
		}
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

// journal remembers what was recorded, and can be full.
type journal struct {
	mu      sync.Mutex
	entries []string // guarded by mu
	full    bool     // guarded by mu
}

func (j *journal) Record(_ context.Context, action, subject string, detail ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.full {
		return errors.New("the journal is full")
	}
	j.entries = append(j.entries, strings.TrimSpace(action+" "+subject+" "+strings.Join(detail, " ")))
	return nil
}

func (j *journal) set(full bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = full
}

func (j *journal) count(entry string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e == entry {
			n++
		}
	}
	return n
}

// edit changes what is stored, as somebody does who may write the database.
func edit(store *keyringtest.Store, change func(kr *record.Keyring)) {
	kr := store.Stored()
	kr.Keys = slices.Clone(kr.Keys)
	change(&kr)
	store.Replace(kr)
}

func randomMaterial() secret.Bytes {
	data := make([]byte, 32)
	rand.Read(data)
	return secret.Take(data)
}

// rowOf is a key's row; an empty one when there is none.
func rowOf(kr *record.Keyring, id string) *record.Key {
	for i := range kr.Keys {
		if kr.Keys[i].ID == id {
			return &kr.Keys[i]
		}
	}
	return &record.Key{}
}

func stored(store keyring.Store, id string) record.Key {
	kr, err := store.Keyring(context.Background(), "")
	if err != nil {
		return record.Key{}
	}
	return *rowOf(&kr, id)
}

// lose takes the database from a node, and with it the node's lease; regain gives it back.
func (w *town) lose(i int)   { w.setAway(i, true) }
func (w *town) regain(i int) { w.setAway(i, false) }

func (w *town) setAway(i int, away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away[w.names[i]] = away
}
