package settings

// Process is what every long-running binary is told.
type Process struct {
	Prefix    string `key:"prefix" default:"/var/lib/keepgate" help:"The working folder: pid file, logs, and what the process stores. It is made at the first start."`
	LogLevel  string `key:"log_level" default:"notice" oneof:"debug|info|notice|warn|error|crit|alert|emerg" help:"The least severe messages that are logged."`
	LogFormat string `key:"log_format" default:"text" oneof:"text|json" help:"How the process's own log is written."`
}

// Cluster is how a node proves who it is to the other plane, and whom it believes.
type Cluster struct {
	Cert   string `key:"cluster_cert" path:"file" help:"This node's certificate for the connection between the planes (PEM file)."`
	Key    string `key:"cluster_cert_key" path:"file" help:"The private key of cluster_cert (PEM file, readable by this user alone)."`
	CACert string `key:"cluster_ca_cert" path:"file" help:"The certificates of the authorities whose nodes are believed (PEM file)."`
	MTLS   string `key:"cluster_mtls" default:"pki" oneof:"pki|pki_check_cn|shared" help:"Whom the planes believe: pki by certificates of cluster_ca_cert that name role and environment; pki_check_cn by their common name too; shared by having the very same certificate, as keepgate-cp hybrid gen_cert makes it."`
	CRL    string `key:"cluster_crl" path:"file" help:"The list of revoked certificates (PEM or DER file). It is read again when it changes."`
}
