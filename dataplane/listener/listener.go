// Package listener opens the gateway's sockets, terminates TLS and hands each connection to the engine that speaks its protocol.
//
// Sockets are described in Kong's syntax (shared/settings/values). On a socket with PROXY protocol the header comes first; without one the
// connection is closed. On a TLS socket the certificate and the policy on clients' certificates are chosen by server name through callbacks;
// ALPN then decides: h2 goes to the HTTP/2 server through a listener fed by a channel, everything else to the HTTP/1.1 engine,
// in a goroutine whose stack no handshake has grown. On a clear socket with the flag http2 the HTTP/1.1 engine notices HTTP/2's preface and calls
// [Listener.HandOver]. Requests, routes and consumers are no concern of this package.
//
// A connection that engines get, or that tls.Conn.NetConn gives them, tells by the method HandshakePolicy which policy it was made under.
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// Native is the HTTP/1.1 engine: it serves a connection to its end in the caller's goroutine.
type Native interface {
	ServeConn(net.Conn)
	// Shutdown closes idle connections, waits for the others, and closes those too when ctx ends.
	Shutdown(context.Context) error
}

// Standard is the server for HTTP/2: our own, or the standard library's, which may serve HTTP/1.1 too.
type Standard interface {
	// Serve accepts until the listener is closed.
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// Options tunes a Listener. The zero value is right for production, once there is a certificate.
type Options struct {
	// Certificate chooses by hello.ServerName at each handshake. Sockets with TLS need it.
	Certificate func(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// Handshake is the policy on clients' certificates for a server name, "" for none; default: nobody is asked.
	Handshake func(serverName string) *table.Handshake
	// MinVersion and MaxVersion of TLS; default 1.2, the least there is, and the newest.
	MinVersion, MaxVersion uint16
	// CipherSuites of TLS 1.2; default: crypto/tls's.
	CipherSuites []uint16
	// SessionTimeout is how long a session may be resumed, and so may those that it was resumed to; default: a week, the most.
	SessionTimeout time.Duration
	// HandshakeTimeout bounds what comes before the first request: the PROXY protocol's header and the TLS handshake;
	// default 10 s.
	HandshakeTimeout time.Duration
	// TrustedProxies are believed what they say by PROXY protocol; the word of others is read and ignored.
	TrustedProxies []netip.Prefix
	// DrainTimeout bounds how long requests in flight may take when the process stops; default 10 s.
	DrainTimeout time.Duration
	// Log hears of accepts that fail; default: nobody.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	o.MinVersion = max(o.MinVersion, tls.VersionTLS12)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Listener is the set of sockets of one proxy.
type Listener struct {
	specs    []values.Listener
	options  Options
	native   Native
	standard Standard
	queue    *queue
	tickets  *tickets
	early    preparing
	crowd    crowd
	sockets  []socket
	accepted atomic.Int64
	refused  atomic.Int64
}

type socket struct {
	net.Listener
	spec values.Listener
	tls  *tls.Config
}

// New makes a Listener and opens nothing.
func New(specs []values.Listener, options Options) *Listener {
	return &Listener{specs: specs, options: options.withDefaults(), queue: newQueue(), tickets: newTickets(options.SessionTimeout)}
}

// Attach sets the engines, before Run. A nil native gives all connections to standard (proxy_http1_engine = std).
func (l *Listener) Attach(native Native, standard Standard) { l.native, l.standard = native, standard }

// Open opens all sockets, or none. Connections wait in the kernel until Run.
func (l *Listener) Open(ctx context.Context) error {
	for _, spec := range l.specs {
		nl, err := open(ctx, spec)
		if err != nil {
			for _, s := range l.sockets {
				_ = s.Close()
			}
			l.sockets = nil
			return fmt.Errorf("listening on %s: %w", spec.Address, err)
		}
		s := socket{Listener: nl, spec: spec}
		if spec.TLS {
			s.tls = l.tlsConfig(spec)
		}
		l.sockets = append(l.sockets, s)
	}
	return nil
}

// Addrs are the addresses of the open sockets, in the order of the specs.
func (l *Listener) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(l.sockets))
	for i, s := range l.sockets {
		addrs[i] = s.Addr()
	}
	return addrs
}

// Accepted counts connections since the start.
func (l *Listener) Accepted() int64 { return l.accepted.Load() }

// FailedHandshakes counts TLS handshakes that came to nothing.
func (l *Listener) FailedHandshakes() int64 { return l.refused.Load() }

// Run accepts until ctx ends, then drains: sockets close first and connections without a request yet, requests in flight get
// DrainTimeout.
func (l *Listener) Run(ctx context.Context) error {
	if l.standard == nil {
		return errors.New("no engine attached")
	}
	var accepting, serving sync.WaitGroup
	failed := make(chan error, len(l.sockets)+1)
	for _, s := range l.sockets {
		accepting.Go(func() {
			if err := l.accept(ctx, s, &serving); err != nil {
				failed <- fmt.Errorf("accepting on %s: %w", s.Addr(), err)
			}
		})
	}
	serving.Go(func() {
		if err := l.standard.Serve(l.queue); err != nil {
			failed <- err
		}
	})
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for _, s := range l.sockets {
		_ = s.Close()
	}
	accepting.Wait()
	l.early.end()
	err = errors.Join(err, l.drain(ctx))
	serving.Wait()
	return err
}

// drain lets both engines finish, side by side. Cutting off who took too long is no failure.
func (l *Listener) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.DrainTimeout)
	defer cancel()
	errs := make([]error, 2)
	var wg sync.WaitGroup
	if l.native != nil {
		wg.Go(func() { errs[0] = l.native.Shutdown(ctx) })
	}
	wg.Go(func() { errs[1] = l.standard.Shutdown(ctx) })
	wg.Wait()
	_ = l.queue.Close()
	for i, err := range errs {
		if errors.Is(err, context.DeadlineExceeded) {
			l.options.Log.Warn("connections closed with requests in flight", "after", l.options.DrainTimeout)
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}
