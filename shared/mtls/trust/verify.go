package trust

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// Demand is what one side asks of the other.
type Demand struct {
	Usages     []x509.ExtKeyUsage // one of them
	ServerName string             // "" does not check names
	Roles      []identity.Role    // empty refuses everybody
	Linked     bool               // the handshake has passed
}

// Found is what a verification has shown.
type Found struct {
	Identity identity.Identity
	Chains   [][]*x509.Certificate // the shortest first; none under a shared certificate
}

// Verify is the whole policy but for what responders say. It trusts nothing that crypto/tls did before: it runs on
// resumed sessions and on live streams too, against the trust of this moment.
func (t *Trust) Verify(cs tls.ConnectionState, d Demand, now time.Time) (Found, error) {
	if len(cs.PeerCertificates) == 0 {
		return Found{}, verdict.Refuse(verdict.NoCertificate, nil, "the peer sent no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if cs.Version < tls.VersionTLS13 {
		return Found{}, verdict.Refuse(verdict.WrongTLSVersion, leaf, "%s, but only TLS 1.3 is spoken here", tls.VersionName(cs.Version))
	}
	if t.rules.Mode == Shared {
		id, err := t.verifyShared(leaf, d, now)
		return Found{Identity: id}, err
	}
	chains, err := t.VerifyChain(cs.PeerCertificates, d, now)
	if err != nil {
		return Found{}, err
	}
	id, err := t.CheckIdentity(chains, d)
	return Found{id, chains}, err
}

// VerifyChain checks the leaf that comes first in certs, with what follows it as intermediates: trust, key
// usage, names, and revocation on every chain that leads to a trusted CA.
func (t *Trust) VerifyChain(certs []*x509.Certificate, d Demand, now time.Time) ([][]*x509.Certificate, error) {
	leaf, intermediates := certs[0], x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         t.roots,
		Intermediates: intermediates,
		DNSName:       d.ServerName,
		KeyUsages:     d.Usages,
		CurrentTime:   now,
	})
	if err != nil {
		return nil, verdict.Denied(t.explainChain(certs, err, now))
	}
	if chains = slices.DeleteFunc(chains, func(chain []*x509.Certificate) bool { return !t.current(chain) }); len(chains) == 0 {
		return nil, verdict.Refuse(verdict.UnknownCA, leaf, "a CA above it was retired: it needs a certificate of the CA that signs now")
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
func (t *Trust) explainChain(certs []*x509.Certificate, err error, now time.Time) *verdict.Refusal {
	refusal := verdict.OfChain(certs[0], err, now)
	if named(certs[0], SharedName) && (refusal.Reason == verdict.UnknownCA || refusal.Reason == verdict.WrongServerName) {
		refusal.Detail += fmt.Sprintf("; a certificate of this name is that of cluster_mtls = shared, and this side has %s", t.rules.Mode)
	}
	if refusal.Reason != verdict.UnknownCA {
		return refusal
	}
	for _, ca := range t.retiredCAs {
		if slices.ContainsFunc(certs, func(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(ca) == nil }) {
			refusal.Detail = fmt.Sprintf("its CA %s was retired: it needs a certificate of the CA that signs now", identity.Quote(ca.Subject.String()))
		}
	}
	return refusal
}

// CheckIdentity asks who holds a certificate whose chains were verified.
func (t *Trust) CheckIdentity(chains [][]*x509.Certificate, d Demand) (identity.Identity, error) {
	leaf := chains[0][0]
	id, err := t.identify(leaf, d)
	if err != nil {
		return identity.Identity{}, err
	}
	// A data plane whose certificate names no identity is of the organisation of its control plane.
	if id.Organisation != t.own.Identity.Organisation && !(t.own.assumed && id.Role == identity.ControlPlane) {
		return identity.Identity{}, verdict.Refuse(verdict.WrongOrganisation, leaf, "organisation %q, but this is %q", id.Organisation, t.own.Identity.Organisation)
	}
	for _, chain := range chains {
		if err := CheckConstraints(chain, id.Role); err != nil {
			return identity.Identity{}, err
		}
	}
	return id, nil
}
