// Package stream serves a data plane: it is sent what is newer than what it holds, and gives its verdict.
package stream

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"maps"
	"net"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	// Heartbeat is how often both sides of a stream say that they are there.
	Heartbeat = 10 * time.Second
	// helloTimeout is how long a data plane may take to say what it holds.
	helloTimeout = 10 * time.Second
	// maxPlugins bounds how many plugins of a data plane are noted, maxWord how long their names and versions may be.
	maxPlugins = 256
	maxWord    = 64
)

// Guard says who is at the other end of a connection and for how long that holds; mtls.Source is one.
type Guard interface {
	// Watch returns when the peer may no longer stay, with the reason, or when ctx ends.
	Watch(ctx context.Context, cs tls.ConnectionState, allow ...identity.Role) error
}

// Publisher has what data planes should hold.
type Publisher interface {
	// Environment returns an environment, nil when there is none of that name.
	Environment(name string) *versions.Environment
	// Ahead reports whether the database never gave out a version.
	Ahead(ctx context.Context, epoch, number uint64) (bool, error)
	// Seen returns the newest revision that was read.
	Seen() uint64
}

// Server is the control plane's end of the stream.
type Server struct {
	syncv1.UnimplementedSyncServiceServer
	publisher Publisher
	fleet     *fleet.Fleet
	guard     Guard
	options   Options
}

// Options tunes a Server. Name and Version are shown to data planes.
type Options struct {
	Name, Version string
	Heartbeat     time.Duration // default Heartbeat
	StorageRetry  time.Duration // before an update is sent again to a node whose disk failed; default 1 min
	Patience      time.Duration // for how long a data plane may be ahead before an operator is told; default 1 min
	Gatekeeper    Gatekeeper    // who may link, and orders; default: certificates alone decide
	Log           *slog.Logger  // default: discard
}

// New makes a Server over a publisher and starts nothing.
func New(publisher Publisher, nodes *fleet.Fleet, guard Guard, options Options) *Server {
	if options.Heartbeat <= 0 {
		options.Heartbeat = Heartbeat
	}
	if options.StorageRetry <= 0 {
		options.StorageRetry = storageRetry
	}
	if options.Patience <= 0 {
		options.Patience = patience
	}
	if options.Gatekeeper == nil {
		options.Gatekeeper = everybody{}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{publisher: publisher, fleet: nodes, guard: guard, options: options}
}

// Stream serves one data plane for as long as it stays: it says what it holds; then, one at a time, it gets
// something newer and gives its verdict. One update in flight is enough: updates are cumulative, so a node that
// was slow gets the newest one next and not a backlog.
func (s *Server) Stream(stream syncv1.SyncService_StreamServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	who, connection, err := grpccreds.PeerOf(ctx) // by its certificate, never by what it says
	if err != nil || who.Role != identity.DataPlane {
		return status.Error(codes.PermissionDenied, "the stream is for data planes")
	}
	go func() { cancel(s.guard.Watch(ctx, connection, identity.DataPlane)) }() // ends with ctx
	c := converse(ctx, stream)
	if err := s.options.Gatekeeper.Admit(ctx, connection, who); err != nil {
		s.options.Log.Warn("a data plane was refused", "data_plane", who.String(), "why", err)
		return outcome(ctx, stream, shutOut(ctx, c, err))
	}
	environment := s.publisher.Environment(who.Environment)
	if environment == nil {
		s.options.Log.Warn("a data plane of an unknown environment was refused", "data_plane", who.String(), "environment", who.Environment)
		return errNoEnvironment(who)
	}
	hello, err := helloFrom(ctx, c)
	if err != nil {
		return outcome(ctx, stream, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.options.Gatekeeper.Watch(ctx, connection, who) }() // ends with ctx
	session := s.fleet.Join(certificateOf(who, connection), labelOf(ctx, hello), heldOf(hello.Held))
	defer session.Leave()
	s.options.Log.Info("data plane linked", "data_plane", who.String(), "hostname", cut(hello.Hostname), "version", cut(hello.Version),
		"holds_version", hello.Held.GetVersion())
	session.Trust(hello.TrustSequence)
	if rooted, ok := s.options.Gatekeeper.(interface {
		Root(cs tls.ConnectionState) string
	}); ok {
		session.Root(rooted.Root(connection)) // who has to stay believed for this one's sake
	}
	l := &link{
		server: s, environment: environment, session: session, who: who, held: hello.Held, partial: hello.Partial,
		connection: connection, trust: hello.TrustSequence, ended: ended, told: map[string]*syncv1.Command{},
	}
	err = outcome(ctx, stream, l.run(ctx, c))
	s.options.Log.Info("data plane unlinked", "data_plane", who.String(), "why", err)
	return err
}

func errNoEnvironment(who identity.Identity) error {
	return status.Errorf(codes.PermissionDenied, "there is no environment %q", who.Environment)
}

// outcome tells a data plane that may no longer stay why.
func outcome(ctx context.Context, stream syncv1.SyncService_StreamServer, err error) error {
	if cause := context.Cause(ctx); cause != nil && stream.Context().Err() == nil {
		return status.Error(codes.PermissionDenied, cause.Error())
	}
	return err
}

func helloFrom(ctx context.Context, c conversation) (*syncv1.Hello, error) {
	late := time.NewTimer(helloTimeout)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case err := <-c.broken:
		return nil, err
	case <-late.C:
		return nil, status.Error(codes.DeadlineExceeded, "no Hello came")
	case message := <-c.received:
		hello := message.GetHello()
		if hello == nil {
			return nil, status.Error(codes.InvalidArgument, "the first message must be a Hello")
		}
		id, err := uuid.Parse(hello.NodeId)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, "node_id must be a UUID")
		}
		hello.NodeId = id.String()
		if held := hello.Held; held != nil && len(held.Hash) != len(configset.Hash{}) { // it is shown, and stored
			return nil, status.Errorf(codes.InvalidArgument, "held.hash must have %d bytes", len(configset.Hash{}))
		}
		return hello, nil
	}
}

func certificateOf(who identity.Identity, connection tls.ConnectionState) fleet.Certificate {
	c := fleet.Certificate{
		Organisation: who.Organisation, Environment: who.Environment, Name: who.Name,
		Serial: who.Serial, Expires: who.NotAfter,
	}
	if len(connection.PeerCertificates) > 0 {
		leaf := connection.PeerCertificates[0]
		c.Issued, c.Issuer = leaf.NotBefore, cut(leaf.Issuer.CommonName)
	}
	return c
}

func labelOf(ctx context.Context, hello *syncv1.Hello) fleet.Label {
	label := fleet.Label{NodeID: hello.NodeId, Hostname: cut(hello.Hostname), Version: cut(hello.Version), Labels: maps.Clone(hello.Labels)}
	if len(hello.Plugins) <= maxPlugins {
		label.Plugins = make(map[string]string, len(hello.Plugins))
		for _, p := range hello.Plugins {
			if len(p.GetName()) <= maxWord && len(p.GetVersion()) <= maxWord {
				label.Plugins[p.GetName()] = p.GetVersion()
			}
		}
	}
	if other, ok := peer.FromContext(ctx); ok {
		label.IP = host(other.Addr.String())
	}
	return label
}

func heldOf(p *syncv1.Position) fleet.Held {
	if p == nil {
		return fleet.Held{}
	}
	return fleet.Held{Epoch: p.Epoch, Version: p.Version, Hash: hex.EncodeToString(p.Hash)}
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}
