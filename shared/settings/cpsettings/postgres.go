package cpsettings

import (
	"crypto/x509"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// Postgres is how PostgreSQL is reached, under Kong's names. Where Kong goes in clear unless told otherwise, this
// goes over verified TLS unless told otherwise.
type Postgres struct {
	Host           []string        `key:"pg_host" default:"127.0.0.1" help:"The server's host name or address, or the folder of its UNIX socket. Several, each with a :port of its own where it differs, are tried until one is as pg_target_session_attrs asks; the one that answered last comes first."`
	Port           int             `key:"pg_port" default:"5432" min:"1" max:"65535" help:"The server's port."`
	Target         string          `key:"pg_target_session_attrs" default:"read-write" oneof:"read-write|primary|any" help:"Which server of pg_host is taken: one that takes writes, one that is no standby, or the first that answers."`
	Timeout        time.Duration   `key:"pg_timeout" default:"5000ms" unit:"ms" min:"1ms" help:"How long connecting and each statement may take."`
	User           string          `key:"pg_user" default:"keepgate" help:"The role to connect as."`
	Password       secret.Bytes    `key:"pg_password" file:"PasswordFile" source:"PasswordSource" help:"The role's password. Its file is read again for new connections."`
	PasswordFile   string          `key:"-"`
	PasswordSource settings.Source `key:"-"`
	Name           string          `key:"pg_database" default:"keepgate" help:"The database to use."`
	Schema         string          `key:"pg_schema" help:"The schema to use; empty takes the role's search path."`
	PoolSize       int             `key:"pg_pool_size" default:"10" min:"2" max:"10000" help:"The most connections that this node opens."`
	Idle           time.Duration   `key:"pg_keepalive_timeout" default:"60s" unit:"ms" min:"1s" help:"How long a connection that nothing uses stays open."`

	SSL         bool          `key:"pg_ssl" default:"on" help:"Connect with TLS. off sends everything in clear, and GET /status says so for good. A UNIX socket has no TLS and needs none."`
	SSLRequired values.Switch `key:"pg_ssl_required" help:"Refuse a server that offers no TLS. Empty means on. off goes in clear where the server offers none: who can change packets can make that so."`
	SSLVerify   values.Switch `key:"pg_ssl_verify" help:"Verify the server's certificate against ssl_trusted_certificate, and its name. Empty means on; off lets whoever answers be the server, and GET /status says so for good."`
	SSLVersion  string        `key:"pg_ssl_version" default:"tlsv1_2" oneof:"tlsv1_2|tlsv1_3|any" help:"The least TLS version spoken with the server; any means tlsv1_2."`
	SSLCert     string        `key:"pg_ssl_cert" path:"file" help:"The client certificate for mutual TLS, and what stands between it and the server's authority (PEM file, absolute path). Read again for new connections, as are the three below."`
	SSLKey      string        `key:"pg_ssl_cert_key" path:"file" help:"The private key of pg_ssl_cert (PEM file, absolute path), readable by this user alone, or by root and a group of root's choice."`
	SSLCRL      string        `key:"pg_ssl_crl_file" path:"file" help:"Lists of revoked certificates (PEM file or one list in DER, absolute path), one of every authority in the server's chain. An authority without a list, and a list out of date, refuse the server."`
	Trusted     []string      `key:"ssl_trusted_certificate" kong:"lua_ssl_trusted_certificate" default:"system" help:"The authorities that the database server's certificate is and that of vault_hcv_host are verified against: files by their absolute paths, certificates as PEM or base64 of PEM, and the word system."`
	VerifyDepth int           `key:"ssl_verify_depth" kong:"lua_ssl_verify_depth" default:"1" min:"0" max:"100" help:"How many intermediate certificates a chain may have."`
}

// Roots reads the authorities of ssl_trusted_certificate; nil means the system's alone.
func (p Postgres) Roots() (*x509.CertPool, error) {
	return values.Roots("ssl_trusted_certificate", p.Trusted)
}

// Replica is a server that may answer for lists. What is empty is as for the other server.
type Replica struct {
	Host           []string        `key:"pg_ro_host" help:"A standby (or several, as for pg_host) that lists are read from while it holds what this node has seen; anything else asks pg_host. Empty means none. The other pg_ro_* settings, where empty, are as pg_*."`
	Port           int             `key:"pg_ro_port" min:"1" max:"65535" help:"The standby's port."`
	Timeout        time.Duration   `key:"pg_ro_timeout" unit:"ms" min:"1ms" help:"How long the standby may take before pg_host is asked."`
	User           string          `key:"pg_ro_user" help:"The role to connect as."`
	Password       secret.Bytes    `key:"pg_ro_password" file:"PasswordFile" source:"PasswordSource" help:"The role's password."`
	PasswordFile   string          `key:"-"`
	PasswordSource settings.Source `key:"-"`
	Name           string          `key:"pg_ro_database" help:"The database to use."`
	Schema         string          `key:"pg_ro_schema" help:"The schema to use."`
	PoolSize       int             `key:"pg_ro_pool_size" min:"2" max:"10000" help:"The most connections that this node opens."`
	SSL            values.Switch   `key:"pg_ro_ssl" help:"As pg_ssl."`
	SSLRequired    values.Switch   `key:"pg_ro_ssl_required" help:"As pg_ssl_required."`
	SSLVerify      values.Switch   `key:"pg_ro_ssl_verify" help:"As pg_ssl_verify."`
	SSLVersion     string          `key:"pg_ro_ssl_version" oneof:"tlsv1_2|tlsv1_3|any" help:"As pg_ssl_version."`
}
