package kmsclient

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/shared/nowait"
)

const (
	// maxBackoff between two attempts to connect. To ask for a socket costs nothing, and a call that falls into the
	// pause must still see its end.
	maxBackoff = time.Second
	// maxHandshake bounds what lies between connecting and the first HTTP/2 frame of the plugin.
	maxHandshake = 5 * time.Second
	// maxAnswer leaves room for answers that are too large, so that they are refused by name.
	maxAnswer = 256 << 10
)

// link makes calls over one connection at a time.
type link struct {
	options Options
	socket  string
	refused atomic.Pointer[error] // of the last attempt to connect
	dialled atomic.Uint64         // connections that were made

	mu     sync.Mutex
	wire   *wire // guarded by mu
	closed bool  // guarded by mu
}

// wire is one gRPC connection and how many calls are on it; the link's mu guards it.
type wire struct {
	connection *grpc.ClientConn
	calls      int
	retired    bool
}

func newLink(o Options) (*link, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &link{options: o}
	if l.socket, err = SocketOf(o.Endpoint); err != nil {
		return nil, err
	}
	l.wire, err = l.newWire()
	return l, err
}

// newWire makes a connection that dials when it is first used.
func (l *link) newWire() (*wire, error) {
	// The target is no address: a path in it would be read as a URL, and would become the :authority, which
	// strict HTTP/2 servers refuse (kubernetes/kubernetes#126929).
	connection, err := grpc.NewClient("passthrough:///kms",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(l.dial), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
			MinConnectTimeout: maxHandshake,
		}),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, err
	}
	return &wire{connection: connection}, nil
}

func (l *link) dial(ctx context.Context, _ string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", l.socket)
	l.refused.Store(&err)
	if err != nil {
		return nil, err
	}
	l.dialled.Add(1)
	l.options.Connected()
	return nowait.Wrap(conn), nil
}

// call makes one call with its own timeout. material is what an answer must not quote.
func (l *link) call(ctx context.Context, method string, request, answer any, material []byte) error {
	w, err := l.take()
	if err != nil {
		return l.failure(method, err)
	}
	defer l.give(w)
	own, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	started := time.Now()
	err = w.connection.Invoke(own, method, request, answer)
	l.options.Observe(method, status.Code(err).String(), time.Since(started))
	switch {
	case err == nil:
		return nil
	case isOver(ctx):
		return l.failure(method, cmp.Or(context.Cause(ctx), context.DeadlineExceeded))
	case l.isClosed():
		return l.failure(method, errClosed)
	case isOver(own) && w.connection.GetState() == connectivity.Ready:
		l.retire(w)
		return l.failure(method, silence{errSilent})
	case isOver(own):
		return l.failure(method, silence{l.unreachable()})
	}
	return l.failure(method, refusal(err, material))
}

// isOver looks at the clock too: the plugin knows the deadline, and its answer that it missed it may be here before
// the timer.
func isOver(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

var (
	errSilent = errors.New("the plugin took the call and did not answer in time")
	errClosed = errors.New("the provider is closed")
)

func (l *link) take() (*wire, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if l.wire == nil { // retired
		fresh, err := l.newWire()
		if err != nil {
			return nil, err
		}
		l.wire = fresh
	}
	l.wire.calls++
	return l.wire, nil
}

func (l *link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *link) give(w *wire) {
	l.mu.Lock()
	w.calls--
	over := w.retired && w.calls == 0
	l.mu.Unlock()
	if over {
		w.connection.Close()
	}
}

// retire lets the calls on w end and makes the next one dial anew.
func (l *link) retire(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire == w {
		w.retired, l.wire = true, nil
		l.options.Log.Warn("a KMS plugin does not answer; the next call dials it anew", "provider", l.options.Name)
	}
}

// close ends the calls that are under way on the connection in use; those on a retired one end by their timeout.
func (l *link) close() error {
	l.mu.Lock()
	w := l.wire
	l.closed, l.wire = true, nil
	l.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.connection.Close()
}
