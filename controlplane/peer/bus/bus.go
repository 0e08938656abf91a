// Package bus carries bytes between the nodes of a control plane over NATS: through a server of this
// process that links itself with those of the other nodes, or through servers that others run.
//
// Only core NATS is used: what nobody hears is gone. Nothing here waits: without a connection a message is
// dropped, and the node goes on trying to connect for as long as it runs. What the messages mean, and
// whether they are to be believed, is controlplane/peer's.
//
// The embedded server opens one port to other machines, for routes: TLS 1.3 with certificates of role
// control-plane on both sides, by the policy of shared/mtls, revocation included; the links of a node that
// was revoked are cut. Its client port is on the loopback interface and wants a key that only this process
// has (nats-server cannot do without one and still take routes).
package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
)

const (
	maxPendingMessages = 4096
	maxPendingBytes    = 16 << 20
)

// Config says where messages travel: through the servers of URLs, or through Embedded.
type Config struct {
	Cluster, Node string // ids: of the database's cluster, of this node
	Log           *slog.Logger

	URLs            []string // nats://host:port or tls://host:port; empty means Embedded
	CACert          string   // whom the servers' certificates are verified against; "" means the system's
	Cert, Key       string   // client certificate
	NKeyFile        string   // seed
	CredentialsFile string   // JWT and seed

	Embedded *Embedded
}

// Embedded is the NATS server of this process.
type Embedded struct {
	Listen    string   // host:port for the other nodes' servers; port 0 takes any
	Advertise string   // host:port under which they reach it; "" lets them take the address they see
	Routes    []string // host:port of others
	Source    *mtls.Source
}

// Bus is a connection to NATS.
type Bus struct {
	log      *slog.Logger
	conn     *nats.Conn
	embedded *embedded // nil: external
	login    *login    // nil: embedded, or without a file
	overrun  *seldom

	mu      sync.Mutex
	problem string  // why there is no connection, or a subject is refused on it; guarded by mu
	refused bool    // the problem is what a server said before it ended the connection; guarded by mu
	told    *seldom // of problems, since there was a connection; guarded by mu
}

// Status is what an operator wants to know of the bus.
type Status struct {
	Embedded  bool
	Connected bool
	Server    string // where the node is connected to, without credentials
	Routes    int    // links of the embedded server to others
	Problem   string // why there is no connection, or one that does not carry everything
}

// Open starts the embedded server, or begins to connect to the external ones. It fails on settings that
// can never work and on a port that is taken; an external server that is away is only logged. Run or
// Close ends what Open began.
func Open(ctx context.Context, config Config) (*Bus, error) {
	const op = "bus.Open"
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	b := &Bus{log: config.Log, overrun: newSeldom(), told: newSeldom()}
	if len(config.URLs) == 0 && config.Embedded == nil {
		return nil, fault.New(fault.Invalid, op, "nats", errors.New("neither URLs nor an embedded server are configured"))
	}
	if len(config.URLs) > 0 {
		if err := b.connect(config); err != nil {
			return nil, fault.New(fault.Invalid, op, "nats_url", err)
		}
		return b, nil
	}
	e, err := startEmbedded(ctx, config)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, "nats_cluster_listen", err)
	}
	b.embedded = e
	if err := b.connectInProcess(ctx, config); err != nil {
		b.Close()
		return nil, fault.New(fault.Internal, op, "nats", err)
	}
	return b, nil
}

// Run keeps the bus until ctx ends, then closes it.
func (b *Bus) Run(ctx context.Context) error {
	defer b.Close()
	if b.embedded != nil {
		b.embedded.watch(ctx)
	} else {
		b.watch(ctx)
	}
	<-ctx.Done()
	return nil
}

// Close ends the connection and the embedded server.
func (b *Bus) Close() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.embedded != nil {
		b.embedded.close()
	}
}

// Publish sends data to the subscribers on other nodes. It fails without a connection.
func (b *Bus) Publish(subject string, data []byte) error {
	if err := b.conn.Publish(subject, data); err != nil {
		return fault.New(fault.Unavailable, "bus.Publish", subject, err)
	}
	return nil
}

// Subscribe calls heard for each message under subject, one after the other, until cancel is called. More
// messages than heard can take are dropped.
func (b *Bus) Subscribe(subject string, heard func(data []byte)) (cancel func(), err error) {
	subscription, err := b.conn.Subscribe(subject, func(m *nats.Msg) { heard(m.Data) })
	if err == nil {
		err = subscription.SetPendingLimits(maxPendingMessages, maxPendingBytes)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "bus.Subscribe", subject, err)
	}
	return func() { _ = subscription.Unsubscribe() }, nil // a closed connection has no subscriptions
}

// Connected says whether messages travel at this moment.
func (b *Bus) Connected() bool { return b.conn.IsConnected() }

// SetRoutes replaces the host:port of the other nodes' servers. Links to those that are no longer named are
// cut where this node dialled them. An external NATS has its own routes.
func (b *Bus) SetRoutes(routes []string) {
	if b.embedded == nil {
		return
	}
	if err := b.embedded.setRoutes(routes); err != nil {
		b.log.Warn("NATS routes not taken over", "routes", routes, "err", err)
	}
}

// RouteAddress returns the host:port that the embedded server listens on, "" without one.
func (b *Bus) RouteAddress() string {
	if b.embedded == nil {
		return ""
	}
	return b.embedded.address()
}

// Status returns the state of this moment.
func (b *Bus) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Status{Embedded: b.embedded != nil, Connected: b.conn.IsConnected(), Server: b.conn.ConnectedUrlRedacted()}
	if s.Embedded {
		s.Routes, s.Server = b.embedded.server.NumRoutes(), ""
	}
	s.Problem = b.problem
	return s
}
