// Package http2server is our HTTP/2 server (RFC 9113): it reads requests strictly, gives them to an [exchange.Handler] and writes the
// responses. Over TLS it is chosen by ALPN, in clear by prior knowledge; "Upgrade: h2c" is not served. Sockets and handshakes are
// dataplane/listener's, compression of fields is http2server/hpack's, the rules on targets and hosts are http1/wire's.
//
// One goroutine reads a connection and never writes, so that a client that takes nothing cannot keep its own words from being heard.
// Streams are served by a crew of goroutines that are kept. Whoever has frames writes them, together with those that others have left
// meanwhile; there is no writing goroutine, and head and small body of a response are one write.
// All deadlines are looked after by one timer for all connections (sweep.go), since a timer for each request costs as much as serving it.
// A connection without streams holds no buffer, and one that is silent for long has no goroutine (rest.go).
//
// # What is refused
//
// What RFC 9113 §8 calls malformed resets the stream with PROTOCOL_ERROR: names in upper case or no tokens, impossible values, fields that
// belong to a connection, pseudo-header fields that are unknown, missing, repeated or late, lengths that are repeated, no numbers, or not
// the body's. What could be an honest mistake is answered, by the same rules as over HTTP/1.1: 400 for targets and hosts (a Host that
// says otherwise than :authority among them), 414, 417, 431, and 501 for CONNECT. Extended CONNECT (RFC 8441) is not offered.
// What a client says of a stream that it has closed itself is STREAM_CLOSED: a reset for data, the end of the connection for fields (§5.1).
//
// # What is bounded
//
// Streams, and handlers of streams that were reset; the bytes, fields and frames of a header list; what may be sent unread; frames that ask for
// work and give none (calm.go); silence within a frame, within a body, between requests, and of a client that takes nothing.
package http2server
