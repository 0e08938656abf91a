package dial

import (
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// explainHandshake names the setting behind a TLS handshake that failed. What serverchain refused speaks for itself.
func explainHandshake(err error, options Options) error {
	if _, ours := errors.AsType[refusal](err); ours {
		return advised{err, adviceOnServer(err.Error())}
	}
	if advice := Advice(err); advice != "" {
		return advised{err, advice}
	}
	if strings.Contains(err.Error(), "server selected unsupported protocol version") {
		return advised{err, "the server speaks no TLS version that pg_ssl_version allows"}
	}
	return err
}

// adviceOnServer says what mends what serverchain refuses, by its words.
func adviceOnServer(text string) string {
	switch {
	case strings.Contains(text, "nobody who is trusted"):
		return "add its authority to ssl_trusted_certificate"
	case strings.Contains(text, " and not for "):
		return "pg_host has to be a name of the certificate"
	case strings.Contains(text, "ssl_verify_depth allows"):
		return "raise it"
	case strings.Contains(text, "expired or is not yet valid"):
		return "renew the server's certificate, or set the clock"
	}
	return ""
}

// advised is an error with what to do about it.
type advised struct {
	error
	advice string
}

func (a advised) Unwrap() error { return a.error }

func (a advised) Error() string {
	if a.advice == "" {
		return a.error.Error()
	}
	return a.error.Error() + "; " + a.advice
}

// Advice says what an operator can do about an error of a connection, or "". Errors that came from here say it already.
func Advice(err error) string {
	if _, ok := errors.AsType[advised](err); ok {
		return ""
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens there: start PostgreSQL, or mend pg_host and pg_port"
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return adviceOnRefusal(refused)
	}
	// A TLS alert that the server sent: with TLS 1.3 it comes with the first answer, after the handshake (RFC 8446 §4.4.2.4).
	remote, ok := errors.AsType[*net.OpError](err)
	if !ok || remote.Op != "remote error" {
		return ""
	}
	return alerts()[strings.TrimPrefix(remote.Err.Error(), "tls: ")]
}

// alerts are those of RFC 8446 §6.2 that speak of the client's certificate, in crypto/tls's words.
func alerts() map[string]string {
	return map[string]string{
		"certificate required":           "the server demands a client certificate: set pg_ssl_cert and pg_ssl_cert_key",
		"unknown certificate authority":  "the server does not know who issued pg_ssl_cert: its ssl_ca_file needs that authority, and pg_ssl_cert whatever stands between the two",
		"expired certificate":            "the certificate in pg_ssl_cert has expired: renew it",
		"revoked certificate":            "the certificate in pg_ssl_cert was revoked: issue another one",
		"bad certificate":                "the server refuses the certificate in pg_ssl_cert",
		"unsupported certificate":        "the server refuses the certificate in pg_ssl_cert: it is not for clients",
		"protocol version not supported": "the server and pg_ssl_version have no TLS version in common",
		"error decrypting message":       "the server's ssl_ca_file has an authority of the name that issued pg_ssl_cert, with another key: put the one that issued it there",
		"unknown certificate":            "the server refuses the certificate in pg_ssl_cert",
		"insufficient security level":    "the server refuses the key of pg_ssl_cert as too weak",
		"handshake failure":              "the server and this node have no kind of TLS in common: see its ssl_ciphers and ssl_min_protocol_version",
	}
}

// adviceOnRefusal reads SQLSTATE codes and, where one stands for many things, the server's English (it may speak another language;
// then there is no advice).
func adviceOnRefusal(refused *pgconn.PgError) string {
	has := func(text string) bool { return strings.Contains(refused.Message, text) }
	switch {
	case refused.Code == "28000" && has("requires a valid client certificate"):
		return "the server demands a client certificate: set pg_ssl_cert and pg_ssl_cert_key"
	case refused.Code == "28000" && (has("certificate authentication failed") || has("\"trust\" authentication failed")):
		return "the common name of pg_ssl_cert has to be pg_user, or a map of the server's pg_ident.conf has to lead from one to the other"
	case refused.Code == "28000" && has("no pg_hba.conf entry") && has("[local]"):
		return "pg_host is a UNIX socket, and the server's pg_hba.conf has no line of type local for this role and database"
	case refused.Code == "28000" && (has("no encryption") || has("SSL off")):
		return "the server's pg_hba.conf does not let this role in without TLS: set pg_ssl = on, and ssl = on in its postgresql.conf if that is off"
	case refused.Code == "28000" && has("no pg_hba.conf entry"):
		return "the server's pg_hba.conf has no line for this role, database and address"
	case refused.Code == "28000" && has("not permitted to log in"):
		return "ALTER ROLE … LOGIN for the role of pg_user, or mend pg_user"
	case refused.Code == "28000" && has("does not exist"):
		return "the role of pg_user is not there: create it, or mend pg_user"
	case refused.Code == "28P01":
		return "mend pg_password (or its file), or the role's password; under clientcert=verify-full the common name of pg_ssl_cert has to be the role, too"
	case refused.Code == "53300":
		return "raise max_connections in its postgresql.conf (or the role's or the database's CONNECTION LIMIT), or lower pg_pool_size of every node"
	case refused.Code == "57P03":
		return "the server is starting or stopping: wait for it, and see its log"
	case refused.Code == "3D000":
		return "the database of pg_database is not there: create it, or mend pg_database"
	}
	return ""
}
