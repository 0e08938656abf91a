// Package http2 is the client half of HTTP/2: connections to one destination, each shared by many requests. Its requests look to
// the proxy like those of http1/client: the same [client.Head], the same [client.Error], the same promises about ex.Response.
//
// The protocol itself (RFC 9113) is the standard library's, connection by connection (http.Transport.NewClientConn). This package
// decides what the standard pool cannot be told: which connection a request takes, that a connection made under a former identity
// serves no further request, what may be repeated, and how long silence is borne. It dials nothing itself: see
// dataplane/upstream.
//
// Both bodies are streamed: what is read from one side is written to the other at once. The client's body is read by a
// goroutine of the connection; nobody reads it any more when RoundTrip has failed or the response's stream is closed.
//
// Of trailers of a request only those are sent that are known when it begins (a buffered body's): the standard library
// has to announce them. Trailers of responses all arrive.
package http2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Options tunes a Pool. The zero value is right for production.
type Options struct {
	IdleTimeout time.Duration // how long a connection without requests is kept; default 60 s, below 0 no bound
	MaxRequests int           // requests a connection may carry; default 10000, below 0 no bound
	SingleUse   bool          // a connection for each request
	Trailers    bool          // say "te: trailers" with every request, as gRPC demands, and not only for clients that did
}

const (
	maxHeadBytes = 64 << 10 // of a response; as http1/client's
	maxFields    = 256
	streamWindow = 256 << 10 // what a response may be ahead of its client
	connWindow   = 64 << 20  // large enough that no stream waits for the clients of others
)

// Pool is the connections to one destination.
type Pool struct {
	options   Options
	transport *http.Transport
	scheme    string

	mu      sync.Mutex
	conns   []*Conn  // guarded by mu; those that take requests
	dialing *attempt // guarded by mu; nil when nobody dials
	closed  bool     // guarded by mu
}

// attempt is a connection that is being made, for all who wait for it.
type attempt struct {
	done  chan struct{}
	err   error // why there is none; valid when done is closed
	other bool  // the server chose another protocol
}

// Dial makes a connection. It says false when the other side chose another protocol than HTTP/2.
type Dial func(ctx context.Context) (conn net.Conn, isHTTP2 bool, err error)

// NewPool makes a Pool. secure says that what is adopted is TLS.
func NewPool(secure bool, options Options) *Pool {
	if options.IdleTimeout == 0 {
		options.IdleTimeout = 60 * time.Second
	}
	if options.MaxRequests == 0 {
		options.MaxRequests = 10000
	}
	if options.SingleUse {
		options.MaxRequests = 1
	}
	p := &Pool{options: options, scheme: "http"}
	protocols := new(http.Protocols)
	if secure {
		p.scheme = "https"
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	adopted := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, ok := ctx.Value(adoptKey{}).(net.Conn)
		if !ok {
			return nil, errors.New("nothing to adopt") // a request cannot get here: connections are made by adopt alone
		}
		return conn, nil
	}
	p.transport = &http.Transport{
		DialContext: adopted, DialTLSContext: adopted, Protocols: protocols,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeadBytes,
		// No pings: gRPC servers end connections whose clients ping more often than every five minutes.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connWindow},
	}
	return p
}

type adoptKey struct{}

// Take reserves a place for one request on a connection, and makes a connection with dial when there is none free: one at a time,
// however many requests wait for it. When the server chose another protocol it returns that connection instead, or neither: then
// others found out, and the caller has to dial for itself.
func (p *Pool) Take(ctx context.Context, dial Dial) (conn *Conn, other net.Conn, err error) {
	for {
		p.mu.Lock()
		if conn = p.reserve(); conn != nil {
			p.mu.Unlock()
			return conn, nil, nil
		}
		wait := p.dialing
		if wait == nil {
			mine := &attempt{done: make(chan struct{})}
			p.dialing = mine
			p.mu.Unlock()
			return p.dial(ctx, mine, dial)
		}
		p.mu.Unlock()
		select {
		case <-wait.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		switch {
		case wait.other:
			return nil, nil, nil
		case wait.err != nil && !errors.Is(wait.err, context.Canceled): // that one's client may have left; ours has not
			return nil, nil, wait.err
		}
	}
}

// dial makes a connection and takes a place on it.
func (p *Pool) dial(ctx context.Context, mine *attempt, dial Dial) (conn *Conn, other net.Conn, err error) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dialing = nil
		mine.err, mine.other = err, other != nil
		close(mine.done)
	}()
	raw, isHTTP2, err := dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !isHTTP2 {
		return nil, raw, nil
	}
	if conn, err = p.adopt(ctx, raw); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	return conn, nil, nil
}

// adopt makes raw a connection of the pool, with a place taken.
func (p *Pool) adopt(ctx context.Context, raw net.Conn) (*Conn, error) {
	std, err := p.transport.NewClientConn(context.WithValue(ctx, adoptKey{}, raw), p.scheme, "upstream:443")
	if err != nil {
		return nil, err
	}
	c := &Conn{std: std, pool: p}
	c.idleSince.Store(exchange.Now())
	std.SetStateHook(c.changed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := std.Reserve(); err != nil {
		_ = std.Close()
		return nil, err
	}
	c.uses = 1
	if p.closed || p.options.MaxRequests == 1 {
		c.last.Store(true)
	} else {
		p.conns = append(p.conns, c)
	}
	return c, nil
}

// reserve takes a place on the first connection that has one, so that those that are not needed grow old. mu is held.
func (p *Pool) reserve() *Conn {
	for i := 0; i < len(p.conns); i++ {
		c := p.conns[i]
		if c.std.Reserve() != nil { // full, going away or dead
			if c.std.Err() != nil {
				p.remove(i)
				i--
			}
			continue
		}
		if c.uses++; p.options.MaxRequests > 0 && c.uses >= p.options.MaxRequests {
			c.last.Store(true)
			p.remove(i)
		}
		return c
	}
	return nil
}

func (p *Pool) remove(i int) {
	copy(p.conns[i:], p.conns[i+1:])
	p.conns[len(p.conns)-1] = nil
	p.conns = p.conns[:len(p.conns)-1]
}

// Sweep closes what has been idle for too long. The owner calls it now and then.
func (p *Pool) Sweep() { p.drop(p.options.IdleTimeout) }

// Close closes idle connections; those in use close when their last response has ended. Requests may still come: each
// has a connection of its own.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop(0)
}

// Open takes Close back for connections that are made from now on.
func (p *Pool) Open() {
	p.mu.Lock()
	p.closed = false
	p.mu.Unlock()
}

// Drain closes the connections that are idle now.
func (p *Pool) Drain() { p.drop(1) }

// drop lets go of connections that have been idle for long; 0 lets go of all.
func (p *Pool) drop(long time.Duration) {
	now := exchange.Now()
	var old []*Conn
	p.mu.Lock()
	for i := 0; i < len(p.conns); i++ {
		c := p.conns[i]
		idle := c.std.InFlight() == 0 && long > 0 && now-c.idleSince.Load() > int64(long)
		if long == 0 || idle || c.std.Err() != nil {
			old = append(old, c)
			p.remove(i)
			i--
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		c.retire()
	}
}

// Counts returns how many connections are idle and in use.
func (p *Pool) Counts() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.std.InFlight() == 0 {
			idle++
		} else {
			busy++
		}
	}
	return idle, busy
}
