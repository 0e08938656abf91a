package cpsettings

import (
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// Peers is how the nodes of one control plane find and believe each other.
type Peers struct {
	Cert   string `key:"peer_cert" path:"file" help:"This node's certificate for the other control plane nodes, of role control-plane (PEM file). Empty means that of cluster_cert."`
	Key    string `key:"peer_cert_key" path:"file" help:"The private key of peer_cert (PEM file, readable by this user alone)."`
	CACert string `key:"peer_ca_cert" path:"file" help:"The certificates of the authorities whose control plane nodes are believed (PEM file)."`
	CRL    string `key:"peer_crl" path:"file" help:"The list of revoked certificates (PEM or DER file). It is read again when it changes."`

	ClusterListen    string   `key:"nats_cluster_listen" default:"0.0.0.0:8006" help:"Where the embedded NATS server awaits those of the other nodes, with mutual TLS. Served with database = postgres and without nats_url; off opens nothing, and then nodes cannot give each other keys."`
	ClusterAdvertise string   `key:"nats_cluster_advertise" help:"The host:port under which the other nodes reach nats_cluster_listen. Empty means this host's name and the port of nats_cluster_listen."`
	ClusterRoutes    []string `key:"nats_cluster_routes" help:"The host:port of other nodes' nats_cluster_listen. Empty means those that the nodes' leases in the database name."`

	URL             values.Servers `key:"nats_url" help:"Servers of an external NATS (nats://host:4222, tls://host:4222). Empty means the embedded server."`
	CACertNATS      string         `key:"nats_ca_cert" path:"file" help:"The authorities that the external NATS server's certificate is verified against (PEM file). Empty means the system's."`
	CertNATS        string         `key:"nats_cert" path:"file" help:"The client certificate for the external NATS (PEM file)."`
	KeyNATS         string         `key:"nats_cert_key" path:"file" help:"The private key of nats_cert (PEM file)."`
	NKeyFile        string         `key:"nats_nkey_file" path:"file" help:"The nkey seed to log in to the external NATS with (file)."`
	CredentialsFile string         `key:"nats_credentials_file" path:"file" help:"The credentials (JWT and nkey) to log in to the external NATS with (.creds file)."`
}

// Audit is the journal of key and access decisions.
type Audit struct {
	HeadsPath string `key:"audit_heads_path" default:"audit-heads" path:"prefix" help:"The file in which this node holds the signed heads of its own and the other nodes' journals, apart from the database."`
}

// License is a license for those whose tools expect one; nothing depends on it.
type License struct {
	Data secret.Bytes `key:"license_data" help:"A license (JSON text), taken before that of license_path and those of the database, and at once at a start."`
	Path string       `key:"license_path" path:"file" help:"A file with a license (JSON text), taken before those of the database. One that cannot be read is told, and stops nothing."`
}
