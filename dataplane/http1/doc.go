// Package http1 is the server half of our HTTP/1.1 engine: it reads requests strictly, gives them to an
// [exchange.Handler] and writes the responses. The client half is http1/client, the rules of the wire are
// http1/wire, the standard library's server behind the same handler is http1/std.
//
// A goroutine serves a connection, synchronously. Nothing is read before it is needed: a body only when the handler
// reads it, "100 Continue" goes out at that first read. While a connection is idle it holds no buffer and no
// exchange; on a plain socket the goroutine waits for readiness, takes a buffer when there is something to read, and serves requests
// without a body before the wait ends (within.go). A connection that is silent for long has no goroutine either (rest.go).
//
// # What is refused
//
// Everything that two servers could read differently (see [wire.Fault]), before the handler hears of it; the
// connection is closed after the answer. CONNECT and "OPTIONS *" are not served. "Upgrade: h2c" and HTTP2-Settings are
// dropped. "Upgrade: websocket" in due form shows as Request.Upgrade; a handler that answers 101 with a
// [exchange.Tunnel] gets the connection, and one that does not serves an ordinary request whose Upgrade is not forwarded.
//
// # Framing
//
// Content-Length, Transfer-Encoding and Connection are written from what was parsed or built, never copied.
package http1
