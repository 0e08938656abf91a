package stream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// world is what a link knows of: a publisher, and a gatekeeper that does as it is told.
type world struct {
	environments *versions.Environments
	ahead        atomic.Bool
	asked        atomic.Int64 // how often the database was asked

	mu      sync.Mutex
	orders  []*syncv1.Command            // guarded by mu
	later   map[uint64][]*syncv1.Command // guarded by mu; by the trust that the data plane holds
	changed chan struct{}                // guarded by mu
}

func (w *world) Environment(name string) *versions.Environment { return w.environments.Of(name) }
func (w *world) Seen() uint64                                  { return 0 }

func (w *world) Ahead(context.Context, uint64, uint64) (bool, error) {
	w.asked.Add(1)
	return w.ahead.Load(), nil
}

func (w *world) Admit(context.Context, tls.ConnectionState, identity.Identity) error { return nil }

func (w *world) Watch(ctx context.Context, _ tls.ConnectionState, _ identity.Identity) error {
	<-ctx.Done()
	return ctx.Err()
}

func (w *world) Orders(_ tls.ConnectionState, _ identity.Identity, trust uint64) ([]*syncv1.Command, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(w.orders[:len(w.orders):len(w.orders)], w.later[trust]...), w.changed
}

// tell gives an order.
func (w *world) tell(sequence uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.orders = []*syncv1.Command{trustOf(sequence)}
	close(w.changed)
	w.changed = make(chan struct{})
}

func trustOf(sequence uint64) *syncv1.Command {
	return &syncv1.Command{Command: &syncv1.Command_Trust{Trust: &enrolv1.Trust{Sequence: sequence}}}
}

// bench is one link, with the test in the data plane's place.
type bench struct {
	*world
	t     *testing.T
	link  *link
	c     conversation
	ended chan error // what the gatekeeper says
	done  chan error // what run returned
	set   configset.Set
	epoch uint64
}

// on runs a link in a bubble until its test is over. The first message is the welcome.
func on(t *testing.T, hello *syncv1.Hello, options Options, test func(b *bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{environments: versions.New(), changed: make(chan struct{})}
		options.Gatekeeper = w
		server := New(w, fleet.New(nil, fleet.Options{}), nil, options)
		b := &bench{
			world: w, t: t, epoch: 1, ended: make(chan error, 1), done: make(chan error, 1),
			c: conversation{make(chan *syncv1.StreamResponse), make(chan *syncv1.StreamRequest), make(chan error, 2)},
		}
		b.link = &link{
			server: server, environment: w.Environment("prod"), who: identity.Identity{Environment: "prod", Name: "edge"}, ended: b.ended,
			session: server.fleet.Join(fleet.Certificate{Environment: "prod", Name: "edge"}, fleet.Label{NodeID: "n"}, heldOf(hello.Held)),
			held:    hello.Held, partial: hello.Partial, told: map[string]*syncv1.Command{},
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { b.done <- b.link.run(ctx, b.c) }()
		if b.next().GetWelcome() == nil {
			t.Error("no welcome comes first")
		}
		test(b)
		cancel()
		synctest.Wait()
	})
}

// next is what the link sends next.
func (b *bench) next() *syncv1.StreamResponse {
	b.t.Helper()
	select {
	case message := <-b.c.sends:
		return message
	case <-time.After(time.Hour):
		b.t.Fatal("nothing is sent")
		return nil
	}
}

// update takes one whole update and returns its first chunk.
func (b *bench) update() *syncv1.Chunk {
	b.t.Helper()
	first := b.chunk()
	for chunk := first; !chunk.Last; {
		chunk = b.chunk()
	}
	return first
}

func (b *bench) chunk() *syncv1.Chunk {
	b.t.Helper()
	for {
		message := b.next()
		if message.GetHeartbeat() != nil {
			continue
		}
		if message.GetChunk() == nil {
			b.t.Fatalf("%v is sent, want a chunk", message)
		}
		return message.GetChunk()
	}
}

// quiet fails where anything but heartbeats is sent within that time. The data plane stays alive.
func (b *bench) quiet(d time.Duration) {
	b.t.Helper()
	over, alive := time.After(d), time.NewTicker(Heartbeat)
	defer alive.Stop()
	for {
		select {
		case message := <-b.c.sends:
			if message.GetHeartbeat() == nil {
				b.t.Fatalf("%v is sent, want nothing", message)
			}
		case <-alive.C:
			b.say(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Heartbeat{Heartbeat: &syncv1.Heartbeat{}}})
		case err := <-b.done:
			b.t.Fatalf("the link ended: %v", err)
		case <-over:
			return
		}
	}
}

func (b *bench) say(message *syncv1.StreamRequest) {
	b.c.received <- message
	synctest.Wait()
}

func (b *bench) ack(p *syncv1.Position) {
	b.say(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Ack{Ack: &syncv1.Ack{Position: p}}})
}

func (b *bench) nack(p *syncv1.Position, why syncv1.NackReason) {
	b.say(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Nack{Nack: &syncv1.Nack{Position: p, Reason: why}}})
}

// show makes a version of one entry more, of so many bytes that cannot be compressed.
func (b *bench) show(number uint64, size int) *versions.Version {
	body := make([]byte, size)
	rand.Read(body)
	b.set = b.set.Put(configset.Entry{Kind: "services", ID: fmt.Sprint(number), Body: body})
	v := &versions.Version{Epoch: b.epoch, Number: number, Set: b.set}
	b.link.environment.Set(v)
	synctest.Wait()
	return v
}
