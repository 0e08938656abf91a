// Package dpsettings declares what keepgate-dp can be told at its start. Package settings reads it; the
// plane's own app gives it meaning.
package dpsettings

import (
	"time"

	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// DataPlane is every setting of keepgate-dp.
type DataPlane struct {
	Process  settings.Process `section:"Process"`
	Proxy    Proxy            `section:"Proxy"`
	Upstream Upstream         `section:"Upstreams"`
	Cluster  Cluster          `section:"Control plane"`
	Store    Store            `section:"Local store"`

	StatusListen values.Listen `key:"status_listen" default:"127.0.0.1:8007" clear:"true" help:"Where health, readiness and metrics are served."`
}

// Proxy is the side that clients see.
type Proxy struct {
	Listen           values.Listen   `key:"proxy_listen" default:"0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384" help:"Where clients connect."`
	HTTP1Engine      string          `key:"proxy_http1_engine" default:"native" oneof:"native|std" help:"Which HTTP/1.1 server is used: Keepgate's own, or the standard library's as a slow fallback."`
	SSLCert          []string        `key:"ssl_cert" path:"file" help:"The certificates served where no SNI matches (PEM files); without one a self-signed one is made at the first start."`
	SSLKey           []string        `key:"ssl_cert_key" path:"file" help:"The private keys of ssl_cert, in the same order (PEM files)."`
	AccessLog        string          `key:"proxy_access_log" default:"logs/access.log" path:"prefix" help:"The access log, or off; a relative path lies below the prefix."`
	ErrorLog         string          `key:"proxy_error_log" default:"logs/error.log" path:"prefix" help:"The log of failed requests, or off; a relative path lies below the prefix."`
	HeaderNames      string          `key:"header_names" default:"keepgate" oneof:"keepgate|kong|both" help:"Whether headers that the gateway adds are named after Keepgate (X-Keepgate-…), after Kong (X-Kong-…), or both."`
	Headers          []string        `key:"headers" default:"server_tokens, latency_tokens, X-Kong-Request-Id" help:"Which headers the gateway adds to responses: server_tokens, latency_tokens, single names, or off."`
	TrustedIPs       values.Prefixes `key:"trusted_ips" help:"Peers whose X-Forwarded-* headers are believed: addresses, ranges, and unix:."`
	RealIPHeader     string          `key:"real_ip_header" default:"X-Real-IP" help:"The header that a trusted peer gives the client's address in."`
	MaxBody          values.Size     `key:"nginx_http_client_max_body_size" default:"0" help:"The largest request body, as 8m; 0 sets no limit."`
	ErrorDefaultType string          `key:"error_default_type" default:"text/plain" oneof:"text/plain|text/html|application/json|application/xml" help:"The form of error bodies where the request asks for none."`
	AllowDebugHeader bool            `key:"allow_debug_header" default:"off" help:"Answer requests that carry the debug header with which route and service they took."`
	RouterFlavor     string          `key:"router_flavor" default:"traditional_compatible" oneof:"traditional_compatible" help:"How routes are matched and ordered."`
}

// Upstream is the side that services see.
type Upstream struct {
	KeepalivePoolSize    int           `key:"upstream_keepalive_pool_size" default:"512" min:"0" help:"How many idle connections are kept to each upstream."`
	KeepaliveMaxRequests int           `key:"upstream_keepalive_max_requests" default:"10000" min:"0" help:"After how many requests a connection is closed; 0 never."`
	KeepaliveIdleTimeout time.Duration `key:"upstream_keepalive_idle_timeout" default:"60s" unit:"s" min:"0s" help:"How long an idle connection is kept."`
	Trusted              []string      `key:"ssl_trusted_certificate" kong:"lua_ssl_trusted_certificate" default:"system" help:"The authorities that upstream certificates are verified against where a service names none: files, and the word system."`
	VerifyDepth          int           `key:"ssl_verify_depth" kong:"lua_ssl_verify_depth" default:"1" min:"0" max:"100" help:"How many intermediate certificates a chain may have."`
}

// Cluster is the data plane's end of the connection to its control plane.
type Cluster struct {
	settings.Cluster
	ControlPlane []string      `key:"cluster_control_plane" default:"127.0.0.1:8005" help:"The nodes of the control plane, as host:port; with more than one they are tried in random order, and one that fails is left for another."`
	ServerName   string        `key:"cluster_server_name" help:"The name that the control plane's certificate has to bear; empty takes the host of each node of cluster_control_plane."`
	PreviousKey  string        `key:"cluster_cert_key_previous" path:"file" help:"The private key before the last renewal, which the local store may still be sealed by (PEM file)."`
	Labels       values.Labels `key:"cluster_dp_labels" help:"What this node tells the control plane about itself, as region:eu,tier:edge."`
}

// Store is the last accepted configuration on this node's disk.
type Store struct {
	Folder     string `key:"local_store" default:"store" path:"prefix" help:"The folder of the store; a relative path lies below the prefix."`
	Encryption string `key:"declarative_config_encryption_mode" default:"aes-256-gcm" oneof:"aes-256-gcm|on|chacha20-poly1305|off" help:"How the store is sealed; on means aes-256-gcm."`
}
