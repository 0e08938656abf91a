package stream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// gate is a gatekeeper that does as it is told.
type gate struct {
	mu      sync.Mutex
	refuses error                       // guarded by mu; at the door
	out     chan struct{}               // closed: it may no longer stay, for the reason why
	why     error                       // set before out is closed
	orders  map[uint64][]*enrolv1.Trust // guarded by mu; by the sequence that a data plane holds
	changed chan struct{}               // guarded by mu
}

func newGate() *gate {
	return &gate{out: make(chan struct{}), changed: make(chan struct{}), orders: map[uint64][]*enrolv1.Trust{}}
}

func (g *gate) Admit(_ context.Context, _ tls.ConnectionState, who identity.Identity) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if who.Name == "" {
		return errors.New("nobody")
	}
	return g.refuses
}

func (g *gate) Watch(ctx context.Context, _ tls.ConnectionState, _ identity.Identity) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-g.out:
		return g.why
	}
}

func (g *gate) Orders(_ tls.ConnectionState, _ identity.Identity, sequence uint64) (commands []*syncv1.Command, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, trust := range g.orders[sequence] {
		commands = append(commands, &syncv1.Command{Command: &syncv1.Command_Trust{Trust: trust}})
	}
	return commands, g.changed
}

// say has other orders given to who holds a sequence.
func (g *gate) say(sequence uint64, trust ...*enrolv1.Trust) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.orders[sequence] = trust
	close(g.changed)
	g.changed = make(chan struct{})
}

// revoked is an error that carries an order to wipe.
type revoked struct{ order *enrolv1.SignedWipe }

func (r *revoked) Error() string             { return "its certificate was revoked" }
func (r *revoked) Wipe() *enrolv1.SignedWipe { return r.order }

// client speaks the stream's messages itself.
type client struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[syncv1.StreamRequest, syncv1.StreamResponse]
}

func (cp *controlPlane) client(t *testing.T) *client {
	t.Helper()
	source, err := mtls.OpenWith(cp.dataPlane(defaultLeaf("edge-1")).files, mtls.Options{})
	cp.must(err)
	conn, err := grpc.NewClient("passthrough:///"+cp.address, grpc.WithTransportCredentials(grpccreds.Client(source, serverName, identity.ControlPlane)))
	cp.must(err)
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := syncv1.NewSyncServiceClient(conn).Stream(ctx)
	cp.must(err)
	return &client{t, stream}
}

func (c *client) hello(sequence uint64) {
	c.t.Helper()
	hello := &syncv1.Hello{NodeId: uuid.NewString(), TrustSequence: sequence}
	if err := c.stream.Send(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Hello{Hello: hello}}); err != nil && err != io.EOF {
		c.t.Fatal(err)
	}
}

func (c *client) report(sequence uint64) {
	c.t.Helper()
	report := &syncv1.Report{Ready: true, TrustSequence: sequence}
	if err := c.stream.Send(&syncv1.StreamRequest{Message: &syncv1.StreamRequest_Report{Report: report}}); err != nil {
		c.t.Fatal(err)
	}
}

// command returns the next order, or how the stream ended.
func (c *client) command() (*syncv1.Command, error) {
	for {
		message, err := c.stream.Recv()
		if err != nil {
			return nil, err
		}
		if command := message.GetCommand(); command != nil {
			return command, nil
		}
	}
}

func TestWhoIsShutOutIsTold(t *testing.T) {
	t.Parallel()
	order := &enrolv1.SignedWipe{Wipe: []byte("wipe"), Proof: []byte("proof")}
	wrapped := errors.Join(errors.New("shut out"), &revoked{order})
	tests := map[string]struct {
		refuses, ends error
		told          bool
	}{
		"refused":                  {refuses: errors.New("unknown")},
		"refused with an order":    {refuses: wrapped, told: true},
		"refused without the text": {refuses: &revoked{}},
		"cut":                      {ends: errors.New("replaced")},
		"cut with an order":        {ends: wrapped, told: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := newControlPlane(t)
			g := newGate()
			g.refuses, g.why = test.refuses, test.ends
			cp.gatekeeper = g
			cp.restart()
			cp.service("bob")
			cp.caughtUp()
			c := cp.client(t)
			if test.refuses == nil {
				c.hello(0)
				first, err := c.stream.Recv()
				if err != nil || first.GetWelcome() == nil {
					t.Fatalf("first came %v, %v", first, err)
				}
				close(g.out)
			}
			command, err := c.command()
			if (err == nil) != test.told {
				t.Fatalf("told %v, %v", command, err)
			}
			if test.told {
				if got := command.GetWipe(); string(got.GetWipe()) != "wipe" || string(got.GetProof()) != "proof" {
					t.Errorf("told %v", command)
				}
				_, err = c.stream.Recv()
			}
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("it ends with %v", err)
			}
			if sent := cp.wire.sent(); test.refuses != nil && len(sent) > 0 {
				t.Error("who was refused got configuration")
			}
		})
	}
}

func TestOrdersAreGivenOnce(t *testing.T) {
	t.Parallel()
	cp := newControlPlane(t)
	g := newGate()
	g.say(1, &enrolv1.Trust{Sequence: 2})
	cp.gatekeeper = g
	cp.restart()
	cp.caughtUp()
	c := cp.client(t)
	c.hello(1)
	next := func(want uint64) {
		t.Helper()
		command, err := c.command()
		if err != nil || command.GetTrust().GetSequence() != want {
			t.Fatalf("ordered %v, %v, want trust %d", command, err, want)
		}
	}
	next(2)
	g.say(1, &enrolv1.Trust{Sequence: 2}) // as before: not said again
	g.say(1, &enrolv1.Trust{Sequence: 3})
	next(3)
	g.say(3, &enrolv1.Trust{Sequence: 4})
	c.report(3) // it has done so, and is given what follows
	next(4)
	eventually(t, "the fleet knows which trust it has", func() bool {
		list, err := cp.fleet.List(t.Context())
		cp.must(err)
		return len(list) == 1 && list[0].TrustSequence == 3
	})
}
