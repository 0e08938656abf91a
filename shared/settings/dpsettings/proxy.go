package dpsettings

import (
	"time"

	"github.com/keepgate/keepgate/shared/settings/values"
)

// Proxy is the side that clients see.
type Proxy struct {
	Listen            values.Listen   `key:"proxy_listen" default:"0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384" help:"Where clients connect. With proxy_protocol every connection must begin with such a header; it counts from trusted_ips."`
	HTTP1Engine       string          `key:"proxy_http1_engine" default:"native" oneof:"native|std" help:"Which HTTP/1.1 server is used: Keepgate's own, or the standard library's as a slow fallback."`
	HTTP2Engine       string          `key:"proxy_http2_engine" default:"native" oneof:"native|std" help:"Which HTTP/2 server is used: Keepgate's own, or the standard library's, which costs several times as much; with proxy_http1_engine = std always the latter."`
	SSLCert           []string        `key:"ssl_cert" path:"file" help:"The certificates served where no SNI matches (PEM files); without one a self-signed one is made at the first start."`
	SSLKey            []string        `key:"ssl_cert_key" path:"file" help:"The private keys of ssl_cert, in the same order (PEM files)."`
	SSLCipherSuite    string          `key:"ssl_cipher_suite" default:"intermediate" oneof:"modern|intermediate|old" help:"Mozilla's recommendation that clients' TLS follows: modern speaks TLS 1.3 alone; old adds the CBC suites of TLS 1.2."`
	SSLProtocols      values.Versions `key:"ssl_protocols" default:"TLSv1.2 TLSv1.3" help:"The versions of TLS that clients may speak; older ones may be listed and are not spoken."`
	SSLSessionTimeout time.Duration   `key:"ssl_session_timeout" default:"1d" unit:"s" min:"1s" max:"7d" help:"How long a client's TLS session may be resumed."`
	AccessLog         string          `key:"proxy_access_log" default:"logs/access.log" path:"prefix" help:"The access log, or off; a relative path lies below the prefix."`
	ErrorLog          string          `key:"proxy_error_log" default:"logs/error.log" path:"prefix" help:"The log of failed requests, or off; a relative path lies below the prefix."`
	HeaderNames       string          `key:"header_names" default:"keepgate" oneof:"keepgate|kong|both" help:"Whether headers that the gateway adds are named after Keepgate (X-Keepgate-…), after Kong (X-Kong-…), or both; with the latter two responses say Connection: keep-alive, as Kong's do."`
	Headers           []string        `key:"headers" default:"server_tokens, latency_tokens, X-Kong-Request-Id" help:"Which headers the gateway adds to responses: server_tokens, latency_tokens, single names, or off."`
	TrustedIPs        values.Prefixes `key:"trusted_ips" help:"Peers whose X-Forwarded-* headers and PROXY protocol are believed: addresses, ranges, and unix:."`
	RealIPHeader      string          `key:"real_ip_header" default:"X-Real-IP" help:"The header that a trusted peer gives the client's address in, or proxy_protocol: that alone counts."`
	RealIPRecursive   bool            `key:"real_ip_recursive" default:"off" help:"Take the last address in real_ip_header that is not trusted itself, instead of the last one."`
	PortMaps          values.Ports    `key:"port_maps" help:"Under which ports clients know those that are listened on, as 80:8000, 443:8443; upstreams are told the clients'."`
	MaxBody           values.Size     `key:"nginx_http_client_max_body_size" default:"0" help:"The largest request body, as 8m; 0 sets no limit."`
	HeaderBuffers     values.Buffers  `key:"nginx_http_large_client_header_buffers" default:"4 8k" help:"How long a line of a request's head may be, and how many times as long the whole: at most 64k."`
	HeaderTimeout     time.Duration   `key:"nginx_http_client_header_timeout" default:"60s" unit:"s" min:"1s" help:"How long a request's head may take from its first byte to its last."`
	BodyTimeout       time.Duration   `key:"nginx_http_client_body_timeout" default:"60s" unit:"s" min:"1s" help:"How long a client may be silent while its request's body is read."`
	MinBodyRate       values.Size     `key:"proxy_min_body_rate" default:"240" help:"How many bytes of a request's body must come a second, after a grace of nginx_http_client_body_timeout; streams over HTTP/2 are exempt; 0 sets no limit."`
	SendTimeout       time.Duration   `key:"nginx_http_send_timeout" default:"60s" unit:"s" min:"1s" help:"How long a client may take nothing of its response."`
	KeepaliveTimeout  time.Duration   `key:"nginx_http_keepalive_timeout" default:"75s" unit:"s" min:"1s" help:"How long a connection may be idle between two requests."`
	DrainTimeout      time.Duration   `key:"proxy_drain_timeout" default:"10s" unit:"s" min:"1s" help:"How long requests and WebSockets under way may go on when the process stops."`
	ErrorDefaultType  string          `key:"error_default_type" default:"text/plain" oneof:"text/plain|text/html|application/json|application/xml" help:"The form of error bodies where the request asks for none."`
	AllowDebugHeader  bool            `key:"allow_debug_header" default:"off" help:"Answer requests that carry the debug header with which route and service they took."`
	RouterFlavor      string          `key:"router_flavor" default:"traditional_compatible" oneof:"traditional_compatible" help:"How routes are matched and ordered."`
}
