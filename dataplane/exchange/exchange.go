// Package exchange is one request and its response as plugins and the proxy see them.
//
// Engines (dataplane/http1 and its standard-library sibling) fill the request, call a [Handler], write
// the response it left and give the exchange back for reuse. The package imports nothing of ours, so
// everything in the data plane can speak it; it parses no bytes of the wire and forwards nothing.
//
// # Memory
//
// An Exchange is reused: in the steady state a request allocates nothing. Hence one rule, for every
// string and slice that comes out of an Exchange (method, host, path, header names and values, ID,
// bodies): they are views into its arena and die when Finish returns. Who keeps one longer, as a key
// of a map, in a cache, in a queue of log lines, keeps strings.Clone of it. Under the race detector the
// arena is overwritten at release, so that a test which breaks the rule reads garbage.
// What goes in may be any Go string or a view of the same exchange; [Exchange.Copy] and [Exchange.Join] put
// short-lived bytes into the arena. One goroutine uses an exchange at a time.
//
// # Framing and hop-by-hop fields
//
// Request.Header and Response.Header never hold framing or connection fields (Host, Content-Length,
// Transfer-Encoding, Connection and what it names, Keep-Alive, Proxy-Connection, TE, Trailer, Upgrade, Expect).
// Engines parse them into fields of Request and Response, remove them before the handler runs and
// write them again from there; a plugin that adds one anyway is ignored when the message is written.
package exchange

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"
	"unsafe"
)

// Handler serves exchanges for an engine.
//
// Serve fills ex.Response: by [Exchange.Answer], or with what an upstream said. It returns when the head of
// the response is known; the engine then writes it and copies Response.Stream. If Response.Status is still 0
// the engine closes the connection without a word. Finish runs after the last byte was written, or could not be: Sent says
// which. It is for logs and counters, must not block, and after it the exchange belongs to someone else.
type Handler interface {
	Serve(ex *Exchange)
	Finish(ex *Exchange)
}

// Exchange is one request and its response.
type Exchange struct {
	Request  Request
	Response Response
	Consumer Consumer
	Sent     Sent

	// Start is when the head of the request had been read.
	Start time.Time
	// Context ends when the server gives up (hard stop). It does not end with the client: see Client.
	Context context.Context
	// Client tells when the client has gone; nil means that nobody watches.
	Client Watcher

	// Lender lends the memory for a body that is held; nil: there is no bound.
	Lender Lender

	// Rewritten is what the upstream gets instead of what the client said.
	Rewritten Rewritten

	// Route and Service are what the table matched; their types belong to the table. Nil when nothing matched.
	Route, Service any

	// Tries are the attempts to reach an upstream, in their order.
	Tries []Try
	// UpstreamTarget is the request target that the upstream was sent, "" when none was.
	UpstreamTarget string

	arena  arena
	slots  []any
	marks  [markCount]int64
	id     [32]byte
	hasID  bool
	buffer bodyBuffer
}

// Sent is what became of the exchange, set by the engine before Finish.
type Sent struct {
	HeadBytes     int64 // bytes of the response's head
	BodyBytes     int64 // bytes of the response's body, without chunk framing
	ReceivedBytes int64 // bytes of the request's body that were read, without chunk framing
	RequestBytes  int64 // bytes of the request's head
	Err           error // why the response could not be sent whole; nil when it was
	ClientGone    bool  // Err is the client's doing
	Closing       bool  // the connection ends with this exchange
}

// Copy puts b into the arena and returns a view of it.
func (ex *Exchange) Copy(b []byte) string { return ex.arena.copy(b) }

// Bytes gives n writable bytes of the arena, for engines and for texts built in place. [View] makes them a string.
func (ex *Exchange) Bytes(n int) []byte { return ex.arena.alloc(n) }

// Join concatenates parts in the arena.
func (ex *Exchange) Join(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := ex.arena.alloc(n)[:0]
	for _, p := range parts {
		b = append(b, p...)
	}
	return View(b)
}

// View makes a string of b without copying: whoever changes b afterwards changes the string.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// ID names the exchange: 32 lower-case hexadecimal digits, made when first asked for. It is random and
// hard to guess, but not a secret: headers and logs show it.
func (ex *Exchange) ID() string {
	if !ex.hasID {
		const digits = "0123456789abcdef"
		hi, lo := rand.Uint64(), rand.Uint64()
		for i := range 16 {
			ex.id[i] = digits[hi&15]
			ex.id[16+i] = digits[lo&15]
			hi, lo = hi>>4, lo>>4
		}
		ex.hasID = true
	}
	return View(ex.id[:])
}

// NeedSlots makes room for n numbered slots, all nil. The proxy calls it once per exchange with the
// number that the table was compiled to.
func (ex *Exchange) NeedSlots(n int) {
	if cap(ex.slots) < n {
		ex.slots = make([]any, n)
		return
	}
	ex.slots = ex.slots[:n]
	clear(ex.slots)
}

// Slot returns what a plugin left in slot i, or nil.
func (ex *Exchange) Slot(i int) any {
	if i >= len(ex.slots) {
		return nil
	}
	return ex.slots[i]
}

// SetSlot leaves v in slot i for the later phases of the same plugin. A pointer costs no allocation,
// a value does. A slot beyond [Exchange.NeedSlots] is a bug in the compiler of the table and panics.
func (ex *Exchange) SetSlot(i int, v any) { ex.slots[i] = v }

// Reset makes ex as new and keeps its memory. Only engines call it, through [Pool].
func (ex *Exchange) Reset() {
	ex.Request.reset()
	ex.Response.reset()
	ex.Consumer = Consumer{}
	ex.Sent = Sent{}
	ex.Start = time.Time{}
	ex.Context = nil
	ex.Client = nil
	ex.Lender = nil
	ex.Rewritten = Rewritten{}
	ex.Route, ex.Service = nil, nil
	ex.Tries, ex.UpstreamTarget = ex.Tries[:0], ""
	clear(ex.slots)
	ex.slots = ex.slots[:0]
	ex.marks = [markCount]int64{}
	ex.hasID = false
	ex.buffer.reset()
	ex.arena.reset()
}

// Consumer is who the request was authenticated as. Empty strings mean "not known"; auth plugins set it
// as a whole and the proxy derives the X-Consumer-* headers from it.
type Consumer struct {
	ID, Username, CustomID string
	CredentialID           string
	CredentialKind         string // "key-auth", "basic-auth", …
	CredentialIdentifier   string // what X-Credential-Identifier shows: a name or an id, never the secret
	Anonymous              bool   // the plugin's configured anonymous consumer, not an authenticated one

	// Groups are the consumer groups that it is in, by name. They belong to the table: read only.
	Groups []Group
	// AuthenticatedGroups are those of somebody who proved to be in them and is no consumer. Read only.
	AuthenticatedGroups []string
}

// Group is a consumer group.
type Group struct{ ID, Name string }

// Try is one attempt to reach an upstream.
type Try struct {
	Address netip.AddrPort // where to; zero when no address was found
	Start   int64          // of [Now]: when an address was asked for
	Chosen  int64          // of [Now]: when there was one
	Status  int            // of the response; 0 when there was none
}

// Authenticated says whether a credential was accepted, or a certificate that stands for groups alone.
func (c *Consumer) Authenticated() bool {
	return (c.CredentialID != "" || len(c.AuthenticatedGroups) > 0) && !c.Anonymous
}

// Aborter is something in flight that can be broken off from another goroutine, more than once.
type Aborter interface{ Abort() }

// Watcher is the client's end of an exchange while something waits for an upstream.
type Watcher interface {
	// Watch calls a.Abort, from another goroutine, when the client goes away before Unwatch. It may take some
	// 100 ms to notice. One Aborter at a time.
	Watch(a Aborter)
	// Unwatch ends it. When it returns no Abort is running or will run; it says whether one did.
	Unwatch() (aborted bool)
}

// Peer is the two ends of the client's connection.
type Peer struct {
	Remote netip.AddrPort // who is at the other end of the socket
	Local  netip.AddrPort // the socket it reached
}

// Refuser is a Handler that words the answers to requests which the engine refused as malformed, and logs them:
// Refuse answers, then Finish runs as usual. Of ex.Request only Peer, ClientAddr, Scheme and TLS are sure; the rest is what was
// understood before the fault. Without it the engine answers with reason as plain text and tells nobody.
type Refuser interface {
	Refuse(ex *Exchange, status int, reason string)
}

// Dropper is a Handler that wants to know of exchanges which a panic has ended: Drop then runs instead of Finish, to
// give back what the exchange had taken, and nothing else.
type Dropper interface{ Drop(ex *Exchange) }
