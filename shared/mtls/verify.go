package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
	responders bool               // are asked too
	linked     bool               // the handshake has passed
}

// found is what a verification has shown.
type found struct {
	identity Identity
	chains   [][]*x509.Certificate // the shortest first; none under a shared certificate
}

// verify is the whole policy but for what responders say. It trusts nothing that crypto/tls did before: it runs on
// resumed sessions and on live streams too, against the trust of this moment.
func (t *trust) verify(cs tls.ConnectionState, d demand, now time.Time) (found, error) {
	if len(cs.PeerCertificates) == 0 {
		return found{}, refuse(NoCertificate, nil, "the peer sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if cs.Version < tls.VersionTLS13 {
		return found{}, refuse(WrongTLSVersion, leaf, "%s, but only TLS 1.3 is spoken here", tls.VersionName(cs.Version))
	}
	if t.options.Mode == Shared {
		id, err := t.verifyShared(leaf, d, now)
		return found{identity: id}, err
	}
	chains, err := t.verifyChain(cs.PeerCertificates, d, now)
	if err != nil {
		return found{}, err
	}
	id, err := t.checkIdentity(chains, d)
	return found{id, chains}, err
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
		return nil, denied(t.explainChain(certs, err, now))
	}
	if chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool { return !t.current(chain) }); len(chains) == 0 {
		return nil, refuse(UnknownCA, leaf, "a CA above it was retired: it needs a certificate of the CA that signs now")
	}
	for _, chain := range chains {
		if err := t.checkRevocation(chain); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(chains, func(a, b []*x509.Certificate) int { return len(a) - len(b) })
	return chains, nil
}

// explainChain says of a CA that was known here that it is retired.
func (t *trust) explainChain(certs []*x509.Certificate, err error, now time.Time) *Refusal {
	refusal := chainRefusal(certs[0], err, now)
	if named(certs[0], SharedName) && (refusal.Reason == UnknownCA || refusal.Reason == WrongServerName) {
		refusal.Detail += fmt.Sprintf("; a certificate of this name is that of cluster_mtls = shared, and this side has %s", t.options.Mode)
	}
	if refusal.Reason != UnknownCA {
		return refusal
	}
	for _, ca := range t.retiredCAs {
		if slices.ContainsFunc(certs, func(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil }) {
			refusal.Detail = fmt.Sprintf("its CA %s was retired: it needs a certificate of the CA that signs now", shown(ca.Subject.String()))
		}
	}
	return refusal
}

// checkIdentity asks who holds a certificate whose chains were verified.
func (t *trust) checkIdentity(chains [][]*x509.Certificate, d demand) (Identity, error) {
	leaf := chains[0][0]
	id, err := t.identify(leaf, d)
	if err != nil {
		return Identity{}, err
	}
	// A data plane whose certificate names no identity is of the organisation of its control plane.
	if id.Organisation != t.identity.Organisation && !(t.assumed && id.Role == ControlPlane) {
		return Identity{}, refuse(WrongOrganisation, leaf, "organisation %q, but this is %q", id.Organisation, t.identity.Organisation)
	}
	for _, chain := range chains {
		if err := checkConstraints(chain, id.Role); err != nil {
			return Identity{}, err
		}
	}
	return id, nil
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
	seen, err := s.look(cs, allow)
	if err != nil {
		return err
	}
	return s.ask(context.Background(), seen, held)
}

// look is Check without what responders say.
func (s *Source) look(cs tls.ConnectionState, allow []Role) (found, error) {
	// The handshake has checked the key usage for its side, and the server's name. A certificate does not change.
	d := demand{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, roles: allow, linked: true}
	return s.trust.Load().verify(cs, d, time.Now())
}

// PeerOf returns who is at the other end of a connection that this Source's configurations accepted.
func (s *Source) PeerOf(cs tls.ConnectionState) (Identity, error) {
	seen, err := s.look(cs, Roles())
	return seen.identity, err
}

// Root returns the CA, trusted by itself, under which the peer of a connection verifies now. Of several, as while one
// CA replaces another, it is the one with the shortest way to it. Under a shared certificate it is that.
func (s *Source) Root(cs tls.ConnectionState) (*x509.Certificate, error) {
	seen, err := s.look(cs, Roles())
	switch {
	case err != nil:
		return nil, err
	case len(seen.chains) == 0:
		return cs.PeerCertificates[0], nil
	}
	return seen.chains[0][len(seen.chains[0])-1], nil
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
