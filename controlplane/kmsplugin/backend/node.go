package backend

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
)

const (
	// maxBackoff between two attempts to connect: a control plane that comes back is found within it.
	maxBackoff   = time.Second
	maxHandshake = 5 * time.Second
	// A connection whose other end is gone without a word ends after both together; the control plane permits 5 s.
	silenceAsked = 10 * time.Second
	silenceEnds  = 5 * time.Second
	// maxAnswer holds the keys of a KEK that was rotated for ages.
	maxAnswer = 4 << 20
	// Windows of fixed size: to measure what they ought to be gRPC would answer every message with a ping.
	callWindow, allWindow = 1 << 20, maxAnswer
)

// node is one node of the control plane and the connection to it.
type node struct {
	Endpoint

	mu       sync.Mutex
	link     *link // guarded by mu; nil until used, and after it was let go
	isClosed bool  // guarded by mu
}

// link is one connection under one identity. The node's mu guards it.
type link struct {
	connection *grpc.ClientConn
	identity   string
	calls      int
	isLeft     bool
}

// use lends the connection for a call, made anew where the identity is another one than it was made under.
func (n *node) use(identity string, call func(grpc.ClientConnInterface) error) error {
	l, err := n.take(identity)
	if err != nil {
		return err
	}
	defer n.give(l)
	return call(l.connection)
}

func (n *node) take(identity string) (*link, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.isClosed {
		return nil, status.Error(codes.Unavailable, "the plugin stops")
	}
	if n.link != nil && n.link.identity != identity {
		n.leave(n.link)
	}
	if n.link == nil {
		connection, err := n.dial()
		if err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		n.link = &link{connection: connection, identity: identity}
	}
	n.link.calls++
	return n.link, nil
}

func (n *node) give(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l.calls--
	if l.isLeft && l.calls == 0 {
		l.connection.Close()
	}
}

// leave lets the calls on a link end and keeps new ones from it. The caller holds mu.
func (n *node) leave(l *link) {
	if n.link == l {
		n.link = nil
	}
	if l.isLeft {
		return
	}
	l.isLeft = true
	if l.calls == 0 {
		l.connection.Close()
	}
}

func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isClosed = true
	if n.link != nil {
		n.link.connection.Close()
		n.link = nil
	}
}

// dial makes a connection that connects when it is first used.
func (n *node) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(n.Credentials),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: maxHandshake,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silenceAsked, Timeout: silenceEnds, PermitWithoutStream: true}),
		grpc.WithStaticStreamWindowSize(callWindow), grpc.WithStaticConnWindowSize(allWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
}

// describe asks for the keys, and who answers.
func (n *node) describe(ctx context.Context, options Options) (answer *wrapv1.DescribeResponse, err error) {
	l, err := n.take(options.Identity())
	if err != nil {
		return nil, err
	}
	defer n.give(l)
	var other peer.Peer
	answer, err = wrapv1.NewWrapServiceClient(l.connection).Describe(ctx, &wrapv1.DescribeRequest{}, grpc.Peer(&other))
	if err != nil {
		return nil, err
	}
	_, state, err := grpccreds.PeerOf(peer.NewContext(ctx, &other))
	if err == nil {
		err = options.Believe(state)
	}
	if err != nil {
		n.mu.Lock()
		n.leave(l)
		n.mu.Unlock()
		return nil, status.Error(codes.Unauthenticated, "it is not believed any more: "+err.Error())
	}
	return answer, nil
}
