// Package dpsettings declares what keepgate-dp can be told at its start. Package settings reads it; the
// plane's own app gives it meaning.
package dpsettings

import (
	"context"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// DataPlane is every setting of keepgate-dp.
type DataPlane struct {
	Process    settings.Process `section:"Process"`
	Proxy      Proxy            `section:"Proxy"`
	Upstream   Upstream         `section:"Upstreams"`
	Balancing  Balancing        `section:"Balancing and names"`
	Cluster    Cluster          `section:"Control plane"`
	Store      Store            `section:"Local store"`
	Keys       Keys             `section:"Scoped keys"`
	References References       `section:"Secret references"`
	Cache      Cache            `section:"Response cache"`

	StatusListen values.Listen `key:"status_listen" default:"127.0.0.1:8007" clear:"true" help:"Where health, readiness and metrics are served."`
}

// Fetch implements [settings.Fetcher].
func (s *DataPlane) Fetch(ctx context.Context, loaded *settings.Loaded) error {
	return s.References.Fetch(ctx, loaded, s.Upstream.Roots)
}

// Private is what the settings keep their own secrets in: files, and folders with all that lies below.
func (s DataPlane) Private() (files, folders []string) {
	files = append([]string{s.Upstream.ClientSSLKey, s.Cluster.Key, s.Cluster.PreviousKey, s.Keys.File, s.References.KubeTokenFile}, s.Proxy.SSLKey...)
	folders = []string{s.Process.Prefix, s.Cluster.Enrolment, s.Store.Folder, s.Keys.Folder}
	return slices.DeleteFunc(files, isEmpty), slices.DeleteFunc(folders, isEmpty)
}

func isEmpty(path string) bool { return path == "" }

// Upstream is the side that services see.
type Upstream struct {
	KeepalivePoolSize    int           `key:"upstream_keepalive_pool_size" default:"512" min:"0" help:"How many idle connections are kept to each upstream."`
	KeepaliveMaxRequests int           `key:"upstream_keepalive_max_requests" default:"10000" min:"0" help:"After how many requests a connection is closed; 0 never."`
	KeepaliveIdleTimeout time.Duration `key:"upstream_keepalive_idle_timeout" default:"60s" unit:"s" min:"0s" help:"How long an idle connection is kept."`
	Trusted              []string      `key:"ssl_trusted_certificate" kong:"lua_ssl_trusted_certificate" default:"system" help:"The authorities that upstream certificates are verified against where a service names none: files, certificates as PEM or base64 of PEM, and the word system."`
	VerifyDepth          int           `key:"ssl_verify_depth" kong:"lua_ssl_verify_depth" default:"1" min:"0" max:"100" help:"How many intermediate certificates a chain may have."`
	ClientSSL            bool          `key:"client_ssl" default:"off" help:"Show a certificate of this node to upstreams that ask for one and whose service and upstream entity have none of their own."`
	ClientSSLCert        string        `key:"client_ssl_cert" path:"file" help:"The certificate of client_ssl, intermediates behind it (PEM file); another one is used from the next handshake on."`
	ClientSSLKey         string        `key:"client_ssl_cert_key" path:"file" help:"The private key of client_ssl_cert (PEM file)."`
	HTTP2                bool          `key:"upstream_http2" default:"off" help:"Speak HTTP/2 with https services that choose it (ALPN); grpc and grpcs services always get HTTP/2."`
}

// Cluster is the data plane's end of the connection to its control plane.
type Cluster struct {
	settings.Cluster
	ControlPlane []string      `key:"cluster_control_plane" default:"127.0.0.1:8005" help:"The nodes of the control plane, as host:port; with more than one they are tried in random order, and one that fails is left for another."`
	ServerName   string        `key:"cluster_server_name" help:"The name that the control plane's certificate has to bear; empty takes the host of each node of cluster_control_plane."`
	PreviousKey  string        `key:"cluster_cert_key_previous" path:"file" help:"The private key before the last renewal, which the local store may still be sealed by (PEM file)."`
	Enrolment    string        `key:"cluster_enrolment" default:"cluster" path:"prefix" help:"The folder in which keepgate-dp join keeps this node's key, its certificate and whom it believes. It is used where cluster_cert is not set."`
	UseProxy     bool          `key:"cluster_use_proxy" default:"off" help:"Reach the control plane through proxy_server."`
	ProxyServer  secret.Bytes  `key:"proxy_server" help:"A forward proxy that takes CONNECT: http://host:port or https://host:port, with user:password@ where it asks for that."`
	ProxyVerify  bool          `key:"proxy_server_ssl_verify" default:"on" help:"Verify the certificate of an https proxy_server against ssl_trusted_certificate."`
	Labels       values.Labels `key:"cluster_dp_labels" help:"What this node tells the control plane about itself, as region:eu,tier:edge."`
}

// Store is the last accepted configuration on this node's disk.
type Store struct {
	Folder     string `key:"local_store" default:"store" path:"prefix" help:"The folder of the store; a relative path lies below the prefix."`
	Encryption string `key:"declarative_config_encryption_mode" default:"aes-256-gcm" oneof:"aes-256-gcm|on|chacha20-poly1305|off" help:"How the store is sealed; on means aes-256-gcm."`
}
