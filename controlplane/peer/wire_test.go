package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/secret"
)

const testCluster = "5d3c0000-0000-4000-8000-000000000001"

// wire is a Bus in memory: everybody hears everything, in order. A test may cut it, and may listen in.
type wire struct {
	mu       sync.Mutex
	cut      bool
	taps     []func(subject string, data []byte)
	subjects map[string][]*subscription
}

type subscription struct {
	queue chan []byte
	done  chan struct{}
}

func newWire() *wire { return &wire{subjects: make(map[string][]*subscription)} }

func (w *wire) Publish(subject string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return errors.New("cut")
	}
	for _, tap := range w.taps {
		tap(subject, bytes.Clone(data))
	}
	for _, s := range w.subjects[subject] {
		select {
		case s.queue <- bytes.Clone(data):
		default:
		}
	}
	return nil
}

func (w *wire) Subscribe(subject string, heard func([]byte)) (func(), error) {
	s := &subscription{make(chan []byte, 1000), make(chan struct{})}
	w.mu.Lock()
	w.subjects[subject] = append(w.subjects[subject], s)
	w.mu.Unlock()
	go func() {
		for {
			select {
			case data := <-s.queue:
				heard(data)
			case <-s.done:
				return
			}
		}
	}()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.subjects[subject] = slices.DeleteFunc(w.subjects[subject], func(o *subscription) bool { return o == s })
		close(s.done)
	}, nil
}

func (w *wire) Connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.cut
}

func (w *wire) setCut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

func (w *wire) tap(heard func(subject string, data []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taps = append(w.taps, heard)
}

// testRing is a keyring that knows of each key what is proven of it: its hash.
type testRing struct {
	mu      sync.Mutex
	proven  map[string][sha256.Size]byte
	held    map[string][]byte
	changed chan struct{}
	refused int // materials that were not what is proven
}

func newRing() *testRing {
	return &testRing{proven: make(map[string][sha256.Size]byte), held: make(map[string][]byte), changed: make(chan struct{})}
}

// list makes a key known, and held when material is given.
func (r *testRing) list(id string, hash [sha256.Size]byte, material []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proven[id] = hash
	if material != nil {
		r.held[id] = material
	}
	r.change()
}

func (r *testRing) change() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *testRing) Wanted() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.proven {
		if r.held[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *testRing) Lend(ids []string, use func(string, secret.Bytes)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if material := r.held[id]; material != nil {
			use(id, secret.Take(bytes.Clone(material)))
		}
	}
}

func (r *testRing) Accept(_ context.Context, _ string, material map[string]secret.Bytes) (accepted []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, m := range material {
		m.Reveal(func(data []byte) {
			if hash, known := r.proven[id]; known && sha256.Sum256(data) == hash {
				r.held[id] = bytes.Clone(data)
				accepted = append(accepted, id)
			} else {
				r.refused++
			}
		})
		m.Wipe()
	}
	if len(accepted) < len(material) {
		err = errors.New("not what is proven")
	}
	r.change()
	return accepted, err
}

func (r *testRing) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *testRing) holds(id string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[id]
}

func newMaterial() []byte {
	material := make([]byte, 32)
	rand.Read(material)
	return material
}

// journal is a log that a test reads while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func controlPlane(name string) mtlstest.Leaf {
	return mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: name}}
}

// newPeer makes a node whose id is name.
func newPeer(t testing.TB, ca *mtlstest.CA, bus Bus, name string) (*Peer, *journal) {
	t.Helper()
	source, _, _ := ca.Source(t, controlPlane(name))
	return peerOf(source, bus, name)
}

func peerOf(source *mtls.Source, bus Bus, node string) (*Peer, *journal) {
	log := &journal{}
	return New(source, bus, Self{Cluster: testCluster, Node: node, Started: time.Now()}, Options{Log: log.logger()}), log
}

// run runs p until the test ends or stop is called.
func run(t testing.TB, p *Peer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func hashOf(material []byte) [sha256.Size]byte { return sha256.Sum256(material) }
