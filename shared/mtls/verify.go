package mtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// demand is what one side asks of the other.
type demand struct {
	usages     []x509.ExtKeyUsage // one of them
	serverName string             // "" does not check names
	roles      []Role             // empty refuses everybody
}

// verify is the whole policy. It trusts nothing that crypto/tls did before: it runs on resumed sessions
// and on live streams too, against the trust of this moment.
func (t *trust) verify(cs tls.ConnectionState, d demand, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return refuse(NoCertificate, nil, "the peer sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if cs.Version < tls.VersionTLS13 {
		return refuse(WrongTLSVersion, leaf, "%s, but only TLS 1.3 is spoken here", tls.VersionName(cs.Version))
	}
	if _, err := t.verifyChain(cs.PeerCertificates, d, now); err != nil {
		return err
	}
	return t.checkIdentity(leaf, d.roles)
}

// verifyChain checks the leaf that comes first in certs, with what follows it as intermediates: trust, key
// usage, names, and revocation on every chain that leads to a trusted CA.
func (t *trust) verifyChain(certs []*x509.Certificate, d demand, now time.Time) ([][]*x509.Certificate, error) {
	leaf, intermediates := certs[0], x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         t.roots,
		Intermediates: intermediates,
		DNSName:       d.serverName,
		KeyUsages:     d.usages,
		CurrentTime:   now,
	})
	if err != nil {
		return nil, denied(chainRefusal(leaf, err, now))
	}
	for _, chain := range chains {
		if err := t.checkRevocation(chain); err != nil {
			return nil, err
		}
	}
	return chains, nil
}

func (t *trust) checkIdentity(leaf *x509.Certificate, roles []Role) error {
	id, err := identityOf(leaf)
	if err != nil {
		return err
	}
	if !slices.Contains(roles, id.Role) {
		return refuse(WrongRole, leaf, "role %s, but only %s may be here", id.Role, roles)
	}
	if id.Organisation != t.identity.Organisation {
		return refuse(WrongOrganisation, leaf, "organisation %q, but this is %q", id.Organisation, t.identity.Organisation)
	}
	return nil
}

// identityOf is IdentityOf with a typed refusal.
func identityOf(leaf *x509.Certificate) (Identity, error) {
	id, err := IdentityOf(leaf)
	switch {
	case errors.Is(err, errNoIdentity):
		return Identity{}, refuse(NoIdentity, leaf, "%v", err)
	case err != nil:
		return Identity{}, refuse(BadIdentity, leaf, "%v", err)
	}
	return id, nil
}

// Check asks again, with the trust of this moment, whether the peer of an established connection may
// stay: an expired, revoked or no longer trusted one is refused. The roles are those given to Server, or
// the one given to Client.
func (s *Source) Check(cs tls.ConnectionState, allow ...Role) error {
	// The handshake has checked the key usage for its side, and a certificate does not change.
	return s.trust.Load().verify(cs, demand{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, roles: allow}, time.Now())
}

func disconnected(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func invalid(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, op, subject, err)
}
