// Package client is the client half of our HTTP/1.1 engine: one connection to an upstream, and a pool of idle
// connections to one destination. Who is a destination (address, TLS identity, certificate authorities, server name) and how to dial
// it is dataplane/upstream's to know; which one is next, dataplane/balancer's.
//
// A [Conn] is synchronous: [Conn.RoundTrip] writes the request and reads the response's head in the caller's goroutine,
// head and small body in one write. Only a body that is streamed (larger than 48 KiB or of unknown length) is sent by a helper
// goroutine, so that an early response and a failing client are noticed. The response's body is read by whoever reads
// ex.Response.Stream; at its end the connection goes back to its pool by itself.
//
// On a plain socket one wait does three things: it looks whether the idle connection is still clean, writes the request, and
// sleeps until the response comes. An upstream that sent anything unasked loses the connection: its next bytes could be taken for
// somebody else's response.
package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Kind is what happened to a request that got no response.
type Kind uint8

const (
	// Stale: a reused connection turned out closed before any byte of a response. When [Error.Retriable] says so
	// another connection to the same target should be tried at once; it is no failure of the target.
	Stale Kind = iota
	Closed
	Timeout    // 504
	Malformed  // the response breaks the rules of the wire: 502
	BadRequest // what should be sent cannot be: a target or host with impossible bytes
	ClientBody // the client's body failed; Err is one of exchange.ErrBody…
	ClientGone // the client left while we waited
	Connect    // no connection could be made: nothing was sent
)

// Error says why RoundTrip got no response. The connection is closed by then.
type Error struct {
	Kind Kind
	Err  error
	// Sent says that bytes of the request may have reached the upstream.
	Sent bool
	// BodyRead says that bytes of the client's body were taken and are lost. Small bodies are not: the request
	// holds them again and can be sent as it is. Buffered large ones want exchange.Rewind.
	BodyRead bool
	// Waiting says that the client had more to send and the upstream waited for it: who of the two is to blame is not known.
	Waiting bool
	// Idempotent says that the method may be repeated (RFC 9110 §9.2.2).
	Idempotent bool
}

// ErrStale is in the chain of errors of kind Stale.
var ErrStale = errors.New("the idle connection was closed by the upstream")

func (e *Error) Error() string { return fmt.Sprintf("upstream connection: %v", e.Err) }

// Unwrap gives the cause to errors.Is.
func (e *Error) Unwrap() error { return e.Err }

// Retriable says that the request can be sent again without the risk of being served twice.
func (e *Error) Retriable() bool { return !e.BodyRead && (!e.Sent || e.Kind == Stale && e.Idempotent) }

// Repeatable says whether the request may be sent again: when nothing of it was sent, or when its method is idempotent
// and the upstream closed without an answer. Its body must still be there; a buffered one is rewound for it.
func (e *Error) Repeatable(ex *exchange.Exchange) bool {
	switch e.Kind {
	case ClientBody, ClientGone, BadRequest:
		return false
	case Connect:
		return ex.Context == nil || ex.Context.Err() == nil
	}
	if e.Sent && !(e.Idempotent && (e.Kind == Stale || e.Kind == Closed)) {
		return false
	}
	return !e.BodyRead || ex.Rewind()
}

// Head is what the first lines of the upstream's request are, and the patience with it.
type Head struct {
	Method string // default: ex.Request.Method
	Target string // origin form, escaped: exchange.AppendEscaped, "?" and the query
	Host   string
	// ServerName, when set, is whom the upstream has to be in place of what its pool knows it as. A connection is chosen by
	// it, see dataplane/upstream; on one it means nothing.
	ServerName string
	// Upgrade forwards the client's ex.Request.Upgrade; a 101 then sets ex.Response.Tunnel.
	Upgrade bool
	// WriteTimeout and ReadTimeout bound the silence between two writes or reads; default 60 s.
	WriteTimeout, ReadTimeout time.Duration
}
