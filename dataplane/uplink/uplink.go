// Package uplink keeps the link to the control plane: dial, hello, take updates, give verdicts, back off.
//
// The control plane's word counts for what the configuration is and nothing else. When it is away the data
// plane serves what it has; the link is tried again with a growing, jittered pause. Either side drops a link
// that was silent for three heartbeats. A snapshot that was cut off goes on where it stopped.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/keepgate/keepgate/dataplane/apply"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// maxMessageBytes bounds one message from the control plane; its chunks are far smaller.
const maxMessageBytes = 64 << 20

// Applier is what takes updates; dataplane/apply says what its methods promise.
type Applier interface {
	Held() (apply.State, bool)
	Quarantined() []*syncv1.Quarantined
	Apply(u apply.Update) *apply.Refusal
}

// Node is what this data plane says of itself. Its identity is its certificate's and not among it.
type Node struct {
	ID, Hostname, Version string
	Plugins               []*syncv1.PluginVersion
	Labels                map[string]string
	// CertificateExpires returns when the certificate in use ends.
	CertificateExpires func() time.Time
}

// Options tunes an Uplink. The zero value is right for production.
type Options struct {
	FirstPause   time.Duration // before the first retry; default 500 ms, doubled each time
	LongestPause time.Duration // default 15 s
	Report       time.Duration // between reports on an idle link; default 1 min
	Log          *slog.Logger  // default: discard
}

// Uplink is the link to one control plane address.
type Uplink struct {
	address     string
	credentials credentials.TransportCredentials
	applier     Applier
	node        Node
	options     Options
	connected   atomic.Bool

	// Touched by Run alone.
	partial *incoming        // an update of which chunks are missing; a snapshot outlives its link
	spurned *syncv1.Position // what was refused before its last chunk
	decoder *zstd.Decoder    // nil until the first chunk
	plain   []byte           // the decoder's buffer
}

// New makes an Uplink and starts nothing. The address is host:port.
func New(address string, creds credentials.TransportCredentials, applier Applier, node Node, options Options) *Uplink {
	if options.FirstPause <= 0 {
		options.FirstPause = 500 * time.Millisecond
	}
	if options.LongestPause <= 0 {
		options.LongestPause = 15 * time.Second
	}
	if options.Report <= 0 {
		options.Report = time.Minute
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Uplink{address: address, credentials: creds, applier: applier, node: node, options: options}
}

// Connected reports whether the control plane has answered on the present link.
func (u *Uplink) Connected() bool { return u.connected.Load() }

// Run keeps the link until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	pause := u.options.FirstPause
	for {
		began := time.Now()
		err := u.session(ctx)
		u.connected.Store(false)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(began) > time.Minute {
			pause = u.options.FirstPause
		}
		wait := pause/2 + rand.N(pause)
		u.options.Log.Warn("no link to the control plane; serving what this node holds",
			"control_plane", u.address, "error", err, "retry_in", wait.Round(time.Millisecond))
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
		pause = min(2*pause, u.options.LongestPause)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

var errSilent = errors.New("the control plane was silent for three heartbeats")

// session runs one link from dialling to its end. It always returns an error, and leaves nothing running.
func (u *Uplink) session(ctx context.Context) error {
	connection, err := grpc.NewClient("passthrough:///"+u.address, grpc.WithTransportCredentials(u.credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)), grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return fmt.Errorf("dialling: %w", err)
	}
	defer connection.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(3*heartbeat, func() { cancel(errSilent) }) // ends a blocked dial or send as well
	defer silence.Stop()
	stream, err := syncv1.NewSyncServiceClient(connection).Stream(ctx)
	if err != nil {
		return fmt.Errorf("opening the stream: %w", cause(ctx, err))
	}
	c := &conversation{
		stream: stream, received: make(chan *syncv1.StreamResponse), broken: make(chan error, 1),
		silence: silence, interval: heartbeat,
	}
	u.spurned = nil
	if u.partial != nil && u.partial.kind != syncv1.UpdateKind_UPDATE_KIND_SNAPSHOT {
		u.partial = nil // a delta is sent again from its beginning
	}
	received := make(chan struct{})
	go func() { defer close(received); c.receive(ctx) }()
	defer func() { cancel(nil); <-received }()
	if err := stream.Send(u.hello()); err != nil {
		return c.sendError(ctx, err)
	}
	return cause(ctx, u.follow(ctx, c))
}

// cause is why the session was ended, where it was this side that did.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

func (u *Uplink) hello() *syncv1.StreamRequest {
	hello := &syncv1.Hello{
		NodeId: u.node.ID, Hostname: u.node.Hostname, Version: u.node.Version,
		Plugins: u.node.Plugins, Labels: u.node.Labels,
	}
	if state, holds := u.applier.Held(); holds {
		hello.Held = state.Position()
	}
	if u.partial != nil {
		hello.Partial = &syncv1.Partial{Target: u.partial.target, Chunks: u.partial.next}
	}
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Hello{Hello: hello}}
}
