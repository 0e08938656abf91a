// Package trust says whom a node believes: which certificates of others count, and who their holders are.
//
// A [Trust] is what the node's files, the certificates and lists that it was told of beside them, and the mode say together. It is
// immutable: shared/mtls puts another one in its place when any of these change, and asks the one of that moment on every handshake,
// on live connections too. It reads no files and knows no connections' life; proofs outside of connections are shared/mtls/proof's.
//
// A configured CRL file must hold one CRL for every CA of the CA file, and be signed by them. A
// CRL past its nextUpdate warns and stays in use: refusing everybody because a file was not renewed would
// turn a delay into an outage. A CRL with a lower number than the one in use is refused.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// Own is a node's own certificate and key.
type Own struct {
	Pair     tls.Certificate
	Identity identity.Identity // as [Rules.Self] says
	CertFile string
	KeyFile  string
	assumed  bool // the certificate names no identity
}

// Given is what a node's files say of others, with their names.
type Given struct {
	CAs    []*x509.Certificate
	Lists  []*List
	Listed bool // CRLs are configured

	CAFile, CRLFile string
}

// Trust is what all of it says together.
type Trust struct {
	own     Own
	given   Given
	rules   *Rules
	cas     []*x509.Certificate // believed now
	roots   *x509.CertPool
	retired map[issuer]struct{}
	// retiredCAs are for explanations.
	retiredCAs []*x509.Certificate
	lists      map[issuer]*revocations // nil: no CRL is configured
	unlisted   map[issuer]struct{}     // CAs that need none, since the files name none
	fallen     map[issuer]time.Time    // CAs that another CA has revoked
	extra      []string                // notices
}

// New makes the trust of a node. The rules belong to it.
func New(own Own, given Given, b Bundle, rules *Rules, now time.Time) (*Trust, error) {
	_, err := identity.Of(own.Pair.Leaf)
	own.assumed = err != nil
	t := &Trust{own: own, given: given, rules: rules}
	if rules.Mode == Shared {
		return t, nil
	}
	t.gatherAuthorities(b)
	if err := t.gatherLists(b); err != nil {
		return nil, err
	}
	if err := t.checkOwnChain(b, now); err != nil {
		return nil, fmt.Errorf("certificate %s with CA %s: %w", own.CertFile, given.CAFile, err)
	}
	return t, nil
}

// OfNobody makes the trust of somebody without a certificate.
func OfNobody(given Given) (*Trust, error) {
	t := &Trust{given: given, rules: &Rules{Mode: PKI}}
	t.gatherAuthorities(Bundle{})
	return t, t.gatherLists(Bundle{})
}

// gatherAuthorities takes those of the files and of the bundle, but for the retired ones.
func (t *Trust) gatherAuthorities(b Bundle) {
	t.roots, t.retired, t.retiredCAs = x509.NewCertPool(), make(map[issuer]struct{}), b.Retired
	for _, ca := range b.Retired {
		t.retired[issuerOf(ca)] = struct{}{}
	}
	for i, ca := range slices.Concat(t.given.CAs, b.Authorities) {
		if _, retired := t.retired[issuerOf(ca)]; retired {
			if i < len(t.given.CAs) {
				t.extra = append(t.extra, fmt.Sprintf("CA %s in %s is retired and no longer believed: take it out of the file", identity.Quote(ca.Subject.String()), t.given.CAFile))
			}
			continue
		}
		if !slices.ContainsFunc(t.cas, ca.Equal) {
			t.cas = append(t.cas, ca)
			t.roots.AddCert(ca)
		}
	}
}

// checkOwnChain asks whether the certificate is a CA's that is known here, be it retired: that is for the others to
// refuse, as is whether it has expired. A node whose certificate ran out must still start and serve what it has.
func (t *Trust) checkOwnChain(b Bundle, now time.Time) error {
	roots := x509.NewCertPool()
	for _, ca := range slices.Concat(t.given.CAs, b.Authorities, b.Retired) {
		roots.AddCert(ca)
	}
	chains, err := t.ownChains(roots, now)
	if err != nil {
		return verdict.OfChain(t.own.Pair.Leaf, err, now)
	}
	if !slices.ContainsFunc(chains, t.current) {
		t.extra = append(t.extra, "this node's certificate is of a retired CA: every peer that knows so will refuse it")
	}
	return nil
}

// ownChains leads from the certificate to roots, as of now or of the beginning of its life.
func (t *Trust) ownChains(roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	intermediates := x509.NewCertPool()
	for _, der := range t.own.Pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("intermediate certificate: %w", err)
		}
		intermediates.AddCert(cert)
	}
	options := x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: now,
	}
	chains, err := t.own.Pair.Leaf.Verify(options)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		options.CurrentTime = t.own.Pair.Leaf.NotBefore
		chains, err = t.own.Pair.Leaf.Verify(options)
	}
	return chains, err
}

// current says that no CA of a chain is retired.
func (t *Trust) current(chain []*x509.Certificate) bool {
	for _, ca := range chain[1:] {
		if _, retired := t.retired[issuerOf(ca)]; retired {
			return false
		}
	}
	return true
}

// Own returns the node's own certificate, key and identity.
func (t *Trust) Own() Own { return t.own }

// Mode returns whom the node believes.
func (t *Trust) Mode() Mode { return t.rules.Mode }

// Given returns the CAs of the files.
func (t *Trust) Given() []*x509.Certificate { return slices.Clone(t.given.CAs) }

// Authorities returns the CAs that are believed, the first of several certificates of one name and key among them.
func (t *Trust) Authorities() []*x509.Certificate { return t.cas }

// Roots returns the CAs that are believed, for a TLS configuration. They must not be changed.
func (t *Trust) Roots() *x509.CertPool { return t.roots }

// Retired says how many CAs are no longer believed.
func (t *Trust) Retired() int { return len(t.retired) }

// RevokedCount says how many certificates the lists in use name.
func (t *Trust) RevokedCount() (n int) {
	for _, list := range t.lists {
		n += len(list.serials)
	}
	return n
}
