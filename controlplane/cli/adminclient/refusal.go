package adminclient

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Refusal is an answer that is no success.
type Refusal struct {
	Status  int
	Message string
	Body    []byte
}

func (r *Refusal) Error() string {
	switch {
	case r.Status == http.StatusUnauthorized:
		return fmt.Sprintf("the control plane refused (%d): %s; name a file with a token that holds by --admin-token-file, or set $%s", r.Status, r.Message, tokenVariable)
	case r.Message != "":
		return fmt.Sprintf("the control plane refused (%d): %s", r.Status, r.Message)
	case r.Status == http.StatusBadRequest && bytes.Contains(r.Body, []byte("HTTP request to an HTTPS server")): // net/http's words
		return "that address is served over TLS: write https:// in --admin-url"
	}
	return fmt.Sprintf("the control plane answered %d %s", r.Status, http.StatusText(r.Status))
}

// explain adds what mends a connection that was refused or a handshake that failed.
func explain(err error) error {
	advice := ""
	if errors.Is(err, syscall.ECONNREFUSED) {
		advice = "no control plane listens there: start it (keepgate-cp start), or name another address by --admin-url"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		advice = "name its authority by --admin-ca (the certificate that a control plane makes itself is ssl/keepgate-admin.crt below its prefix)"
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		advice = "that address is served in clear: write http:// in --admin-url"
	}
	// Alerts of RFC 8446 section 6.2 that the server sent, in crypto/tls's words.
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		switch strings.TrimPrefix(alert.Err.Error(), "tls: ") {
		case "certificate required":
			advice = "it asks for a client certificate: --admin-cert and --admin-cert-key"
		case "bad certificate", "unknown certificate authority", "expired certificate", "revoked certificate":
			advice = "it refuses the one of --admin-cert: not of an authority in its admin_ssl_client_ca, out of date, or revoked"
		}
	}
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, advice)
}
