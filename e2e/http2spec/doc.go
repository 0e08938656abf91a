// Package http2spec holds the gate's own HTTP/2 server to h2spec, the public conformance suite of HTTP/2 and HPACK: all of its
// cases, the strict ones too, over TLS and in clear, against a real gate with an upstream behind it.
//
// h2spec is a program of others that is built for this alone, so the scenario is behind the build constraint "h2spec" and
// `make e2e-http2` runs it. What h2spec finds is held on to by tests of frames in dataplane/http2server, which `make test` runs.
package http2spec
