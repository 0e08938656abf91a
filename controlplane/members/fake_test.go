package members_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/record"
)

// table is a database with leases, whose clock is off by what clock says.
type table struct {
	mu    sync.Mutex
	rows  map[string]row // guarded by mu
	down  error          // guarded by mu
	clock time.Duration  // guarded by mu
	slow  time.Duration  // an answer takes up to this; set before use
}

// answer takes its time before and after what is done.
func (d *table) answer() {
	if d.slow > 0 {
		time.Sleep(rand.N(d.slow))
	}
}

type row struct {
	at   time.Time
	body []byte
}

func newTable() *table { return &table{rows: map[string]row{}} }

func (d *table) PutLease(_ context.Context, node string, body []byte) error {
	d.answer()
	defer d.answer()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down == nil {
		d.rows[node] = row{time.Now().Add(d.clock), bytes.Clone(body)}
	}
	return d.down
}

func (d *table) Leases(context.Context) ([]record.Lease, error) {
	d.answer()
	defer d.answer()
	d.mu.Lock()
	defer d.mu.Unlock()
	var leases []record.Lease
	for _, node := range slices.Sorted(maps.Keys(d.rows)) {
		age := max(0, time.Now().Add(d.clock).Sub(d.rows[node].at))
		leases = append(leases, record.Lease{Node: node, Age: age, Body: bytes.Clone(d.rows[node].body)})
	}
	if d.down != nil {
		return nil, d.down
	}
	return leases, nil
}

func (d *table) DropLeases(_ context.Context, node string, olderThan time.Duration) error {
	d.answer()
	defer d.answer()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down != nil {
		return d.down
	}
	maps.DeleteFunc(d.rows, func(id string, r row) bool {
		return id == node || olderThan > 0 && time.Now().Add(d.clock).Sub(r.at) > olderThan
	})
	return nil
}

func (d *table) body(node string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Clone(d.rows[node].body)
}

func (d *table) set(change func(*table)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// key proves by an HMAC that all who have it can make.
type key string

func (k key) Prove(context string, message []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte(k))
	mac.Write([]byte(context + "\x00"))
	mac.Write(message)
	return mac.Sum(nil), nil
}

func (k key) Check(context string, message, proof []byte) error {
	if want, _ := k.Prove(context, message); !hmac.Equal(want, proof) {
		return errors.New("another key made it")
	}
	return nil
}

const shared = key("shared by the nodes of a cluster")

// node makes a node with an id that stands for all it says.
func node(store members.Store, id string, options members.Options) *members.Members {
	return members.New(store, shared, "cluster-1", func() members.Say { return members.Say{Node: id, Hostname: "host-" + id} }, options)
}

// life is a node that runs until the test, or stop, ends it.
type life struct {
	*members.Members
	stop context.CancelFunc
	err  error // of Run; read after ended is closed
	done chan struct{}
}

func start(t *testing.T, m *members.Members) *life {
	t.Helper()
	if err := m.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run(t, m)
}

func run(t *testing.T, m *members.Members) *life {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &life{Members: m, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.err = m.Run(ctx)
	}()
	t.Cleanup(func() { l.end() })
	return l
}

func (l *life) end() {
	l.stop()
	<-l.done
}

// ended returns what Run returned, which it must have by now.
func (l *life) ended(t *testing.T) error {
	t.Helper()
	select {
	case <-l.done:
		return l.err
	default:
		t.Fatal("the node goes on")
		return nil
	}
}

// live lists the ids of the nodes that live, as one of them sees it.
func live(t *testing.T, m *members.Members) []string {
	t.Helper()
	found, err := m.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, member := range found {
		ids = append(ids, member.Node)
	}
	return ids
}

func expectLive(t *testing.T, m *members.Members, want ...string) {
	t.Helper()
	if got := live(t, m); !slices.Equal(got, want) {
		t.Errorf("%v live, want %v", got, want)
	}
}

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// later lets time pass and everything happen that it brings.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func logTo(buffer *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(buffer, nil)) }
