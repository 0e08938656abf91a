// Package servercert holds the certificate that a TLS socket shows, and reads it again while the socket serves.
//
// It is for sockets whose clients prove nothing by TLS. Those between the planes have identities on both ends and are
// shared/mtls's.
package servercert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
)

// Holder is a certificate in use. It is safe for concurrent use.
type Holder struct {
	read    func() (tls.Certificate, error)
	current atomic.Pointer[tls.Certificate]
}

// New reads the certificate for the first time.
func New(read func() (tls.Certificate, error)) (*Holder, error) {
	h := &Holder{read: read}
	_, err := h.Reload()
	return h, err
}

// Reload reads the certificate again, and reports whether it is another. When it cannot be used, the one in use stays,
// and connections that are open keep theirs in any case.
func (h *Holder) Reload() (changed bool, err error) {
	cert, err := h.read()
	if err != nil {
		return false, err
	}
	if cert.Leaf == nil {
		if len(cert.Certificate) == 0 {
			return false, errors.New("there is no certificate")
		}
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return false, fmt.Errorf("reading the certificate: %w", err)
		}
	}
	before := h.current.Swap(&cert)
	return before == nil || !before.Leaf.Equal(cert.Leaf), nil
}

// Leaf is the certificate in use.
func (h *Holder) Leaf() *x509.Certificate { return h.current.Load().Leaf }

// Certificate is the certificate in use, with its key. Handshakes ask for it one by one.
func (h *Holder) Certificate() *tls.Certificate { return h.current.Load() }

// Config is for sockets that show the certificate in use at each handshake. Sessions are not resumed: a ticket would
// carry the trust in a certificate past its end.
func (h *Holder) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return h.current.Load(), nil },
	}
}
