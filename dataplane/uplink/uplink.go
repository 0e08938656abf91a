// Package uplink keeps the link to the control plane: dial, hello, take updates, give verdicts, back off.
//
// The control plane's word counts for what the configuration is and nothing else. When it is away the data
// plane serves what it has; the link is tried again with a growing, jittered pause. Either side drops a link
// that was silent for three heartbeats. A snapshot that was cut off goes on where it stopped.
package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/dataplane/apply"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/lifecycle"
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
	// Orders takes what the control plane asks for beside the configuration; nil refuses all of it.
	Orders Orders
}

// Orders is who changes this node's standing in its cluster. Its methods are called one at a time, and none of them
// waits for the network.
type Orders interface {
	// TrustSequence names the trust that this node holds; 0 for none that a control plane gave.
	TrustSequence() uint64
	// Trust takes whom to believe from now on. The node that gave it was verified as from says.
	Trust(bundle *enrolv1.Trust, from tls.ConnectionState) error
	// Renew gets another certificate soon.
	Renew(reason string)
	// Wipe erases what this node holds, when the order is proven and meant for it. Once it has returned nil the uplink
	// links no more.
	Wipe(order *enrolv1.SignedWipe) error
}

// Options tunes an Uplink. The zero value is right for production.
type Options struct {
	DialTimeout  time.Duration // for a node to open the stream; default 3 s
	FirstPause   time.Duration // after all nodes were tried; default 500 ms, doubled each time
	LongestPause time.Duration // default 15 s
	Report       time.Duration // between reports on an idle link; default 1 min
	// Lacking is how long a node may leave out entries that it cannot open and that this data plane never held, before
	// another node is asked; default 30 s, doubled each time up to 15 min.
	Lacking time.Duration
	Heard   func()       // is called with every message of a control plane that takes this node
	Dial    Dial         // default: straight over TCP
	Log     *slog.Logger // default: discard
}

// Dial opens a connection to host:port.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Uplink is the link to one node of the control plane at a time.
type Uplink struct {
	endpoints []Endpoint
	applier   Applier
	node      Node
	options   Options
	connected atomic.Bool
	refused   atomic.Pointer[string] // why the control plane does not want this node; nil: it does, as far as is known
	again     chan struct{}          // a value: the link is to be made anew
	tell      chan struct{}          // a value: a report is due

	// Touched by Run alone.
	partial *incoming        // an update of which chunks are missing; a snapshot outlives its link
	spurned *syncv1.Position // what was refused before its last chunk
	decoder *zstd.Decoder    // nil until the first chunk
	plain   []byte           // the decoder's buffer
	lacking time.Duration    // until another node is asked for what this one cannot open
}

// New makes an Uplink and starts nothing. There is at least one endpoint.
func New(endpoints []Endpoint, applier Applier, node Node, options Options) *Uplink {
	if options.DialTimeout <= 0 {
		options.DialTimeout = 3 * time.Second
	}
	if options.FirstPause <= 0 {
		options.FirstPause = 500 * time.Millisecond
	}
	if options.LongestPause <= 0 {
		options.LongestPause = 15 * time.Second
	}
	if options.Report <= 0 {
		options.Report = time.Minute
	}
	if options.Lacking <= 0 {
		options.Lacking = 30 * time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Heard == nil {
		options.Heard = func() {}
	}
	if node.Orders == nil {
		node.Orders = noOrders{}
	}
	return &Uplink{
		endpoints: endpoints, applier: applier, node: node, options: options,
		again: make(chan struct{}, 1), tell: make(chan struct{}, 1), lacking: options.Lacking,
	}
}

// Relink makes the link anew: with the certificate that the credentials have by now.
func (u *Uplink) Relink() {
	select {
	case u.again <- struct{}{}:
	default:
	}
}

// Tell has the control plane told soon how this node is: something has changed beside the configuration.
func (u *Uplink) Tell() {
	select {
	case u.tell <- struct{}{}:
	default:
	}
}

// Connected reports whether the control plane has answered on the present link.
func (u *Uplink) Connected() bool { return u.connected.Load() }

// Refused returns why the control plane refuses this node, as it said last; "" where it does not.
func (u *Uplink) Refused() string {
	if why := u.refused.Load(); why != nil {
		return *why
	}
	return ""
}

// settled is how long a link must have lasted for its end to be a new beginning: no pause is owed then.
const settled = time.Minute

// Run keeps the link until ctx ends: it tries the nodes in random order, stays with the one that answers, and when
// that is lost goes on with the others at once. Only when all were tried in vain does it pause.
func (u *Uplink) Run(ctx context.Context) error {
	pause := u.options.FirstPause
	untried := u.shuffled("")
	for {
		at := untried[0]
		untried = untried[1:]
		began := time.Now()
		err := u.session(ctx, at)
		linked := u.connected.Swap(false)
		if said, ok := errors.AsType[interface {
			error
			GRPCStatus() *status.Status
		}](err); ok && said.GRPCStatus().Code() == codes.PermissionDenied {
			why := said.GRPCStatus().Message()
			u.refused.Store(&why)
		}
		if errors.Is(err, errWiped) {
			<-ctx.Done() // nobody wants this node, and it holds nothing
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errRelink) {
			untried = append([]Endpoint{at}, u.shuffled(at.Address)...)
			continue
		}
		if linked && time.Since(began) > settled {
			pause, untried = u.options.FirstPause, u.shuffled(at.Address)
		}
		wait := time.Duration(0)
		switch {
		case len(untried) == 0:
			wait = pause/2 + rand.N(pause)
			pause, untried = min(2*pause, u.options.LongestPause), u.shuffled("")
		case linked:
			wait = rand.N(u.options.FirstPause / 2) // a node that ends leaves many data planes behind
		}
		u.options.Log.Warn("no link to the control plane; serving what this node holds", "control_plane", at.Address,
			"error", err, "next", untried[0].Address, "retry_in", wait.Round(time.Millisecond))
		if !lifecycle.Pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// shuffled returns the endpoints in random order, but for the one at an address.
func (u *Uplink) shuffled(without string) []Endpoint {
	list := slices.DeleteFunc(slices.Clone(u.endpoints), func(e Endpoint) bool { return e.Address == without })
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

var (
	errWiped  = errors.New("this node was shut out of its cluster")
	errRelink = errors.New("the link is made anew with another certificate")
	errSilent = errors.New("the control plane was silent for three heartbeats")
	errSlow   = errors.New("the control plane did not answer in time")
	errLocked = errors.New("this node of the control plane cannot open all that this data plane needs; asking another one")
)

// session runs one link from dialling to its end. It always returns an error, and leaves nothing running.
func (u *Uplink) session(ctx context.Context, at Endpoint) error {
	select {
	case <-u.again: // this link will be the new one
	default:
	}
	connection, err := at.Connect(u.options.Dial)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dial := time.AfterFunc(u.options.DialTimeout, func() { cancel(errSlow) })
	defer dial.Stop()
	stream, err := syncv1.NewSyncServiceClient(connection).Stream(ctx)
	dial.Stop()
	silence := time.AfterFunc(heartbeat, func() { cancel(errSilent) }) // the welcome is due at once
	defer silence.Stop()
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
		return u.sendError(ctx, c)
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
		Plugins: u.node.Plugins, Labels: u.node.Labels, TrustSequence: u.node.Orders.TrustSequence(),
	}
	if state, holds := u.applier.Held(); holds {
		hello.Held = state.Position()
	}
	if u.partial != nil {
		hello.Partial = &syncv1.Partial{Target: u.partial.target, Chunks: u.partial.next}
	}
	return &syncv1.StreamRequest{Message: &syncv1.StreamRequest_Hello{Hello: hello}}
}
