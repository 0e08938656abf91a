package mtls

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const expiresSoon = 14 * 24 * time.Hour

// trust is what the files and the bundle say together. It never changes, but for what it remembers of proofs.
type trust struct {
	*papers
	options *Options
	cas     []*x509.Certificate // believed now
	roots   *x509.CertPool
	retired map[issuer]struct{}
	// retiredCAs are for explanations.
	retiredCAs []*x509.Certificate
	lists      map[issuer]*revocations // nil: no CRL is configured
	unlisted   map[issuer]struct{}     // CAs that need none, since the files name none
	fallen     map[issuer]time.Time    // CAs that another CA has revoked
	extra      []string                // notices
	changed    chan struct{}           // closed when another set takes over
	believed   believed                // chains of proofs that this set was asked about
}

// combine makes a trust of what was read and what was told.
func combine(files Files, p *papers, b Bundle, o *Options, now time.Time) (*trust, error) {
	t := &trust{papers: p, options: o, changed: make(chan struct{})}
	if o.Mode == Shared {
		return t, nil
	}
	t.gatherAuthorities(files, b)
	if err := t.gatherLists(files, b); err != nil {
		return nil, err
	}
	if err := t.checkOwnChain(b, now); err != nil {
		return nil, fmt.Errorf("certificate %s with CA %s: %w", files.Cert, files.CA, err)
	}
	return t, nil
}

// gatherAuthorities takes those of the files and of the bundle, but for the retired ones.
func (t *trust) gatherAuthorities(files Files, b Bundle) {
	t.roots, t.retired, t.retiredCAs = x509.NewCertPool(), make(map[issuer]struct{}), b.Retired
	for _, ca := range b.Retired {
		t.retired[issuerOf(ca)] = struct{}{}
	}
	for i, ca := range slices.Concat(t.papers.cas, b.Authorities) {
		if _, retired := t.retired[issuerOf(ca)]; retired {
			if i < len(t.papers.cas) {
				t.extra = append(t.extra, fmt.Sprintf("CA %s in %s is retired and no longer believed: take it out of the file", shown(ca.Subject.String()), files.CA))
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
func (t *trust) checkOwnChain(b Bundle, now time.Time) error {
	roots := x509.NewCertPool()
	for _, ca := range slices.Concat(t.papers.cas, b.Authorities, b.Retired) {
		roots.AddCert(ca)
	}
	chains, err := t.ownChains(roots, now)
	if err != nil {
		return chainRefusal(t.pair.Leaf, err, now)
	}
	if !slices.ContainsFunc(chains, t.current) {
		t.extra = append(t.extra, "this node's certificate is of a retired CA: every peer that knows so will refuse it")
	}
	return nil
}

// ownChains leads from the certificate to roots, as of now or of the beginning of its life.
func (t *trust) ownChains(roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	intermediates := x509.NewCertPool()
	for _, der := range t.pair.Certificate[1:] {
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
	chains, err := t.pair.Leaf.Verify(options)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		options.CurrentTime = t.pair.Leaf.NotBefore
		chains, err = t.pair.Leaf.Verify(options)
	}
	return chains, err
}

// current says that no CA of a chain is retired.
func (t *trust) current(chain []*x509.Certificate) bool {
	for _, ca := range chain[1:] {
		if _, retired := t.retired[issuerOf(ca)]; retired {
			return false
		}
	}
	return true
}

// notices lists what is not an error but should be mended. The texts do not change from one second to the
// next, so that each is logged once.
func (t *trust) notices(files Files, now time.Time) []string {
	var notices []string
	say := func(format string, args ...any) { notices = append(notices, fmt.Sprintf(format, args...)) }
	if t.notice != "" {
		say("%s", t.notice)
	}
	leaf := t.pair.Leaf
	switch {
	case now.After(leaf.NotAfter):
		say("certificate %s expired %s: every peer will refuse it", files.Cert, stamp(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		say("certificate %s is valid from %s on: compare the clocks", files.Cert, stamp(leaf.NotBefore))
	case leaf.NotAfter.Sub(now) < expiresSoon:
		say("certificate %s expires soon, %s", files.Cert, stamp(leaf.NotAfter))
	}
	if t.options.Mode == Shared {
		say("cluster_mtls = shared: every node has the same key and can pose as any other, and nothing can be revoked; pki tells them apart")
		return notices
	}
	for _, ca := range t.cas {
		if now.After(ca.NotAfter) {
			say("CA %s in %s expired %s", shown(ca.Subject.String()), files.CA, stamp(ca.NotAfter))
		}
	}
	if t.lists == nil {
		say("no CRL is configured: revoked certificates are not noticed")
	}
	for _, list := range t.sorted() {
		if list.stale(now) {
			say("CRL %s by %s should have been replaced by %s: it is still used", files.CRL, shown(list.name), stamp(list.nextUpdate))
		}
		if _, revoked := list.serials[t.identity.Serial]; revoked && bytes.Equal(leaf.RawIssuer, list.rawIssuer) {
			say("certificate %s is itself revoked: every peer will refuse it", files.Cert)
		}
	}
	return append(notices, t.extra...)
}

func (t *trust) sorted() []*revocations {
	return slices.SortedFunc(maps.Values(t.lists), func(a, b *revocations) int { return strings.Compare(a.name, b.name) })
}

func (t *trust) revoked() (n int) {
	for _, list := range t.lists {
		n += len(list.serials)
	}
	return n
}
