package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/dataplane/apply"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// commander is a control plane that orders, over real TLS.
type commander struct {
	syncv1.UnimplementedSyncServiceServer
	say    func(stream syncv1.SyncService_StreamServer) error
	links  chan *syncv1.Hello
	report chan *syncv1.Report
}

func (c *commander) Stream(stream syncv1.SyncService_StreamServer) error {
	if c.say != nil {
		return c.say(stream)
	}
	message, err := stream.Recv()
	if err != nil {
		return err
	}
	c.links <- message.GetHello()
	if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{ControlPlane: "cp"}}}); err != nil {
		return err
	}
	for _, command := range []*syncv1.Command{
		{Command: &syncv1.Command_Trust{Trust: &enrolv1.Trust{Sequence: 8}}},
		{Command: &syncv1.Command_Trust{Trust: &enrolv1.Trust{Sequence: 3}}}, // refused
		{Command: &syncv1.Command_Renew{Renew: &syncv1.Renew{Reason: "rotation"}}},
		{Command: &syncv1.Command_Wipe{Wipe: &enrolv1.SignedWipe{Wipe: []byte("forged")}}}, // refused
		{}, // of a later version
	} {
		if err := stream.Send(commandOf(command)); err != nil {
			return err
		}
	}
	for {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		if report := message.GetReport(); report != nil {
			c.report <- report
		}
	}
}

func commandOf(command *syncv1.Command) *syncv1.StreamResponse {
	return &syncv1.StreamResponse{Message: &syncv1.StreamResponse_Command{Command: command}}
}

// obedient notes what it was ordered.
type obedient struct {
	sequence atomic.Uint64
	from     chan string
	renewals chan string
	wipes    chan string
}

func (o *obedient) TrustSequence() uint64 { return o.sequence.Load() }

func (o *obedient) Trust(bundle *enrolv1.Trust, from tls.ConnectionState) error {
	if bundle.GetSequence() < o.sequence.Load() {
		return errors.New("lower")
	}
	o.sequence.Store(bundle.GetSequence())
	id, err := mtls.PeerOf(from)
	o.from <- id.String()
	return err
}

func (o *obedient) Renew(reason string) { o.renewals <- reason }

func (o *obedient) Wipe(order *enrolv1.SignedWipe) error {
	o.wipes <- string(order.GetWipe())
	if string(order.GetWipe()) == "forged" {
		return errors.New("forged")
	}
	return nil
}

// command runs an uplink towards a commander.
func command(t *testing.T, c *commander) (*Uplink, *obedient) {
	t.Helper()
	ca := mtlstest.NewCA(t, "ca")
	server, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}, DNS: []string{"cp.example"}})
	node, _, _ := ca.Source(t, mtlstest.Leaf{})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(grpccreds.Server(server, slog.New(slog.DiscardHandler), identity.DataPlane)))
	syncv1.RegisterSyncServiceServer(s, c)
	go s.Serve(socket) // ends with Stop
	t.Cleanup(s.Stop)
	orders := &obedient{from: make(chan string, 10), renewals: make(chan string, 10), wipes: make(chan string, 100)}
	orders.sequence.Store(7)
	var dialled atomic.Int64
	u := New([]Endpoint{{socket.Addr().String(), grpccreds.Client(node, "cp.example", identity.ControlPlane)}}, apply.New(nowhere{}, nowhere{}),
		Node{CertificateExpires: time.Now, Orders: orders}, Options{
			FirstPause: 10 * time.Millisecond, LongestPause: 20 * time.Millisecond,
			Dial: func(ctx context.Context, address string) (net.Conn, error) {
				dialled.Add(1)
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			},
		})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if dialled.Load() == 0 {
			t.Error("the dialler that was given was not used")
		}
	})
	return u, orders
}

func next[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
	}
	return value
}

func TestOrders(t *testing.T) {
	t.Parallel()
	c := &commander{links: make(chan *syncv1.Hello, 10), report: make(chan *syncv1.Report, 100)}
	u, orders := command(t, c)
	if hello := next(t, c.links); hello.GetTrustSequence() != 7 {
		t.Errorf("the hello says sequence %d", hello.GetTrustSequence())
	}
	if from := next(t, orders.from); from != "keepgate://control-plane/acme/-/cp" {
		t.Errorf("the trust came from %s", from)
	}
	if reason := next(t, orders.renewals); reason != "rotation" {
		t.Errorf("to renew for %q", reason)
	}
	if wipe := next(t, orders.wipes); wipe != "forged" {
		t.Errorf("wiped by %q", wipe)
	}
	for next(t, c.report).GetTrustSequence() != 8 { // the first may be from before
	}
	u.Relink()
	if hello := next(t, c.links); hello.GetTrustSequence() != 8 {
		t.Errorf("the next link says sequence %d", hello.GetTrustSequence())
	}
}

// What the control plane says when it refuses this node is kept until it is let in.
func TestRefused(t *testing.T) {
	t.Parallel()
	streams, free := make(chan struct{}, 100), make(chan struct{})
	c := &commander{say: func(stream syncv1.SyncService_StreamServer) error {
		streams <- struct{}{}
		select {
		case <-free:
		default:
			return status.Error(codes.PermissionDenied, "a newer certificate is in use")
		}
		if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{}}}); err != nil {
			return err
		}
		<-stream.Context().Done()
		return nil
	}}
	u, _ := command(t, c)
	next(t, streams)
	next(t, streams) // the first one's end has been heard
	if why := u.Refused(); why != "a newer certificate is in use" {
		t.Errorf("refused: %q", why)
	}
	close(free)
	for end := time.Now().Add(30 * time.Second); !u.Connected() || u.Refused() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still refused: %q", u.Refused())
		}
	}
}

// A wipe may be all that a stream says, before and after the hello; nobody links after it.
func TestAWipeIsTheLastWord(t *testing.T) {
	t.Parallel()
	wipe := commandOf(&syncv1.Command{Command: &syncv1.Command_Wipe{Wipe: &enrolv1.SignedWipe{Wipe: []byte("real")}}})
	for name, say := range map[string]func(stream syncv1.SyncService_StreamServer) error{
		"before the hello": func(stream syncv1.SyncService_StreamServer) error { return nil },
		"after it": func(stream syncv1.SyncService_StreamServer) error {
			_, err := stream.Recv()
			return err
		},
		"when all was heard": func(stream syncv1.SyncService_StreamServer) error {
			for range 2 {
				if _, err := stream.Recv(); err != nil {
					return err
				}
				if err := stream.Send(&syncv1.StreamResponse{Message: &syncv1.StreamResponse_Welcome{Welcome: &syncv1.Welcome{}}}); err != nil && !errors.Is(err, io.EOF) {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var streams atomic.Int64
			c := &commander{say: func(stream syncv1.SyncService_StreamServer) error {
				streams.Add(1)
				if err := say(stream); err != nil {
					return err
				}
				if err := stream.Send(wipe); err != nil {
					return err
				}
				return status.Error(codes.PermissionDenied, "revoked")
			}}
			u, orders := command(t, c)
			if got := next(t, orders.wipes); got != "real" {
				t.Errorf("wiped by %q", got)
			}
			before := streams.Load()
			u.Relink() // even so
			select {
			case <-orders.wipes:
				t.Error("it linked again")
			case <-time.After(200 * time.Millisecond): // ten pauses
			}
			if streams.Load() != before || u.Connected() {
				t.Errorf("%d streams, then %d", before, streams.Load())
			}
		})
	}
}
