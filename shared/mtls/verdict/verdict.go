// Package verdict says why a peer, or what it has signed, was refused: in words that may be counted and compared, with what can be
// done about it. It judges nobody; that is shared/mtls/trust's.
package verdict

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Reason is why a connection or a proof was refused, in words that may be counted and compared.
type Reason string

const (
	NoCertificate     Reason = "no certificate"
	UnknownCA         Reason = "wrong CA"
	Expired           Reason = "expired"
	NotYetValid       Reason = "not yet valid"
	Revoked           Reason = "revoked"
	RevocationUnknown Reason = "revocation unknown"
	NoIdentity        Reason = "missing URI SAN"
	BadIdentity       Reason = "bad URI SAN"
	WrongRole         Reason = "wrong role"
	WrongOrganisation Reason = "wrong organisation"
	WrongServerName   Reason = "wrong server name"
	WrongCommonName   Reason = "wrong common name"
	NotShared         Reason = "not the shared certificate"
	WrongUsage        Reason = "wrong key usage"
	BadChain          Reason = "bad chain"
	NotTLS            Reason = "not TLS"
	WrongTLSVersion   Reason = "wrong TLS version"
	RefusedByPeer     Reason = "refused by the other side"
	Left              Reason = "left during the handshake"
	BrokenHandshake   Reason = "broken handshake"
	BadProof          Reason = "bad proof" // of Proven: not a proof, or not of this message
)

// Refusal says why a peer was refused. Subject is what its certificate says of it, as far as that could be
// read: an unproven claim, quoted where it could carry control characters.
type Refusal struct {
	Reason  Reason
	Subject string // "keepgate://data-plane/acme/prod/edge-1 serial 5f…", "" without a certificate
	Detail  string
	Err     error // what the TLS or X.509 code said, if it was they who refused
}

func (r *Refusal) Error() string {
	text := string(r.Reason)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	if r.Subject != "" {
		text += " (" + r.Subject + ")"
	}
	return text
}

// Unwrap gives the cause to errors.Is and errors.As.
func (r *Refusal) Unwrap() error { return r.Err }

// Explain turns the error of a failed handshake, on either side, into a Refusal.
func Explain(err error) *Refusal {
	var refusal *Refusal
	if err == nil || errors.As(err, &refusal) {
		return refusal
	}
	var chain *tls.CertificateVerificationError
	if errors.As(err, &chain) && len(chain.UnverifiedCertificates) > 0 {
		return OfChain(chain.UnverifiedCertificates[0], chain.Err, time.Now())
	}
	reason, detail := explainTLS(err)
	return &Refusal{Reason: reason, Detail: detail, Err: err}
}

// explainTLS tells apart what crypto/tls does not type; a test for each keeps the texts honest.
func explainTLS(err error) (Reason, string) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return NotTLS, "the first bytes are no TLS handshake"
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return RefusedByPeer, strings.TrimPrefix(op.Err.Error(), "tls: ") + "; its log says why"
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "didn't provide a certificate"):
		return NoCertificate, "the peer sent no certificate"
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "unsupported protocol version"):
		return WrongTLSVersion, "only TLS 1.3 is spoken here"
	case disconnected(err):
		return Left, text
	}
	return BrokenHandshake, text
}

// Refuse makes the error that crosses the package border.
func Refuse(reason Reason, cert *x509.Certificate, format string, args ...any) error {
	return Denied(&Refusal{Reason: reason, Subject: Subject(cert), Detail: fmt.Sprintf(format, args...)})
}

// Denied is Refuse for a refusal that is already made.
func Denied(r *Refusal) error {
	return fault.New(fault.Denied, "mtls.Check", "peer", r)
}

// OfChain reads what the X.509 verifier said of leaf.
func OfChain(leaf *x509.Certificate, err error, now time.Time) *Refusal {
	r := &Refusal{Reason: BadChain, Subject: Subject(leaf), Detail: err.Error(), Err: err}
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		r.Reason, r.Detail = UnknownCA, fmt.Sprintf("issuer %s is not among the trusted CAs (another CA may bear that name: compare the CA files of both sides)", identity.Quote(leaf.Issuer.String()))
	case errors.As(err, &host):
		r.Reason = WrongServerName
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		r.Reason, r.Detail = WrongUsage, "its extended key usage does not allow this side of a connection"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		r.Reason, r.Detail = Validity(invalid.Cert, leaf, now)
	}
	return r
}

// Validity says of a certificate at, the leaf or a CA above it, how its time and now differ.
func Validity(at, leaf *x509.Certificate, now time.Time) (Reason, string) {
	whose := ""
	if at != leaf {
		whose = "its CA " + identity.Quote(at.Subject.String()) + " "
	}
	if now.Before(at.NotBefore) {
		return NotYetValid, fmt.Sprintf("%svalid from %s on, now %s: compare the clocks", whose, Stamp(at.NotBefore), Stamp(now))
	}
	return Expired, fmt.Sprintf("%sexpired %s", whose, Stamp(at.NotAfter))
}

// Subject is what a certificate says of its holder, "" without one.
func Subject(cert *x509.Certificate) string {
	if cert == nil {
		return ""
	}
	name := "subject " + identity.Quote(cert.Subject.String())
	if id, err := identity.Of(cert); err == nil {
		name = id.String()
	}
	return name + " serial " + identity.SerialText(cert.SerialNumber)
}

// Stamp writes a time as all of these texts show it.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func disconnected(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// IdentityOf reads the identity in a certificate whose chain was verified, or refuses it.
func IdentityOf(leaf *x509.Certificate) (identity.Identity, error) {
	id, err := identity.Of(leaf)
	switch {
	case errors.Is(err, identity.ErrNone):
		return identity.Identity{}, Refuse(NoIdentity, leaf, "%v", err)
	case err != nil:
		return identity.Identity{}, Refuse(BadIdentity, leaf, "%v", err)
	}
	return id, nil
}
