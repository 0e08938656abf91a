package bus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	startTimeout = 10 * time.Second
	tlsTimeout   = 5 * time.Second
	maxPayload   = 512 << 10
	maxPending   = 16 << 20
)

// embedded is the NATS server of this process.
type embedded struct {
	log    *slog.Logger
	server *server.Server
	user   nkeys.KeyPair // whom the client port lets in: made at start, in memory alone
	links  *links

	config   Config
	name     string
	host     string
	port     int
	closing  sync.Once
	reloadMu sync.Mutex
	routes   []*url.URL // guarded by reloadMu
}

func startEmbedded(ctx context.Context, config Config) (*embedded, error) {
	e := &embedded{log: config.Log, config: config, links: newLinks(config.Embedded.Source)}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	options, err := e.options(nil)
	if err != nil {
		return nil, err
	}
	if e.server, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("configuring the NATS server: %w", err)
	}
	log := newLogger(config.Log)
	e.server.SetLoggerV2(log, false, false, false)
	e.server.Start()
	if err := e.awaitStart(ctx, log); err != nil {
		e.close()
		return nil, err
	}
	e.port = e.server.ClusterAddr().Port
	return e, nil
}

func (e *embedded) prepare() (err error) {
	if err := e.config.Embedded.check(); err != nil {
		return err
	}
	if e.host, e.port, err = splitAddress(e.config.Embedded.Listen); err != nil {
		return err
	}
	if e.port == 0 {
		e.port = server.RANDOM_PORT
	}
	if e.routes, err = routeURLs(e.config.Embedded.Routes); err != nil {
		return err
	}
	// A node that has just died may still be known to the others under its name, and a name serves once.
	var random [4]byte
	rand.Read(random[:])
	e.name = e.config.Node + "-" + hex.EncodeToString(random[:])
	e.user, err = nkeys.CreateUser()
	return err
}

// options describes the server as it is to be. Pinned, when not nil, are the only certificates that links
// may use: see cut.
func (e *embedded) options(pinned server.PinnedCertSet) (*server.Options, error) {
	user, err := e.user.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("key of the client port: %w", err)
	}
	return &server.Options{
		ServerName: e.name,
		// Without any client port the server takes no routes either.
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		Nkeys:           []*server.NkeyUser{{Nkey: user}},
		NoSigs:          true,
		NoSystemAccount: true,
		MaxPayload:      maxPayload,
		MaxPending:      maxPending,
		PingInterval:    pingInterval,
		MaxPingsOut:     maxPingsOut,
		WriteDeadline:   writeTimeout,
		// Routes that cannot be dialled are reported by the log's own rule.
		ConnectErrorReports:   1,
		ReconnectErrorReports: 1,
		Routes:                slices.Clone(e.routes),
		Cluster: server.ClusterOpts{
			Name: e.config.Cluster, Host: e.host, Port: e.port, Advertise: e.config.Embedded.Advertise,
			TLSConfig: e.links.config(), TLSTimeout: tlsTimeout.Seconds(), TLSPinnedCerts: pinned,
			PoolSize:     -1, // one connection: nothing overtakes anything
			Compression:  server.CompressionOpts{Mode: server.CompressionOff},
			PingInterval: pingInterval, MaxPingsOut: maxPingsOut,
			ConnectRetries: 10, // of routes that other servers told of
		},
	}, nil
}

func (e *embedded) awaitStart(ctx context.Context, log *logger) error {
	const look = 50 * time.Millisecond
	for begun := time.Now(); ; {
		if e.server.ReadyForConnections(look) {
			return nil
		}
		if err := log.fatal(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Since(begun) > startTimeout {
			return errors.New("the embedded NATS server does not start")
		}
	}
}

// login answers the challenge of the client port.
func (e *embedded) login() nats.Option {
	user, err := e.user.PublicKey()
	if err != nil {
		return func(*nats.Options) error { return err }
	}
	return nats.Nkey(user, e.user.Sign)
}

func (e *embedded) address() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }

func (e *embedded) setRoutes(routes []string) error {
	var urls []*url.URL
	for _, route := range routes { // one that cannot be used does not stand in the way of the others
		one, err := routeURLs([]string{route})
		if err != nil {
			e.log.Warn("the address of another node's NATS server is not usable; see nats_cluster_advertise there", "err", err)
			continue
		}
		urls = append(urls, one...)
	}
	e.reloadMu.Lock()
	defer e.reloadMu.Unlock()
	if sameURLs(urls, e.routes) {
		return nil
	}
	e.routes = urls
	return e.reload(nil)
}

func sameURLs(a, b []*url.URL) bool {
	texts := func(urls []*url.URL) (all []string) {
		for _, u := range urls {
			all = append(all, u.Host)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(texts(a), texts(b))
}

// reload runs under reloadMu.
func (e *embedded) reload(pinned server.PinnedCertSet) error {
	options, err := e.options(pinned)
	if err != nil {
		return err
	}
	return e.server.ReloadOptions(options)
}

func (e *embedded) close() {
	e.closing.Do(func() {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.user.Wipe()
	})
}
