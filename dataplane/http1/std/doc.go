// Package std serves the same [exchange.Handler] through the standard library's HTTP server: HTTP/1.1 and HTTP/2, by
// ALPN and in clear, as the conformance fallback of our own (proxy_http1_engine = std, proxy_http2_engine = std).
//
// The standard server accepts and re-frames some HTTP/1.1 that our own engine refuses (Content-Length beside chunked, bare LF,
// folded lines); what it passes on is one unambiguous request all the same. Rules on hosts, paths, hop-by-hop fields and trailers
// are those of http1/wire. It costs about 2.5 times the CPU of our engine per request.
package std
