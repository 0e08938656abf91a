package proof

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

type believedKey struct {
	chain [sha256.Size]byte
	at    Moment
}

type believedChain struct {
	key          believedKey
	leaf         *x509.Certificate
	chains       [][]*x509.Certificate
	since, until time.Time // outside of it the chain is verified again
}

// believe verifies a chain for the moment, unless it has done so before.
func (b *Book) believe(chain []byte, certs [][]byte, at Moment, now time.Time) (*believedChain, error) {
	key := believedKey{sha256.Sum256(chain), at}
	if found := b.find(key, now); found != nil {
		return found, nil
	}
	parsed := make([]*x509.Certificate, len(certs))
	for i, der := range certs {
		var err error
		if parsed[i], err = x509.ParseCertificate(bytes.Clone(der)); err != nil {
			return nil, unproven(nil, "certificate %d: %v", i+1, err)
		}
	}
	seen, err := b.verify(parsed, at, now)
	if err != nil {
		return nil, err
	}
	seen.key = key
	return seen, nil
}

func (b *Book) find(key believedKey, now time.Time) *believedChain {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := b.chains[key]
	if found == nil || now.Before(found.since) || now.After(found.until) {
		return nil
	}
	return found
}

func (b *Book) keep(chain *believedChain) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chains[chain.key] == chain {
		return
	}
	if b.chains == nil || len(b.chains) >= maxBelieved {
		b.chains = make(map[believedKey]*believedChain)
	}
	b.chains[chain.key] = chain
}

// verify is [trust.Trust.VerifyChain] for a signature. What it returns says until which time, and since when, the answer
// holds without asking again.
func (b *Book) verify(certs []*x509.Certificate, at Moment, now time.Time) (*believedChain, error) {
	leaf := certs[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, verdict.Refuse(verdict.WrongUsage, leaf, "its key usage does not allow signatures")
	}
	d := trust.Demand{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	chains, err := b.trust.VerifyChain(certs, d, now)
	if err != nil && at == Ever && expired(err) {
		for _, moment := range b.moments(certs, now) {
			if chains, err = b.trust.VerifyChain(certs, d, moment); err == nil || !expired(err) {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	seen := &believedChain{leaf: leaf, chains: chains, until: now.AddDate(100, 0, 0)} // for as long as this trust is in use
	if at == Now {
		seen.since, seen.until = validWindow(chains)
	}
	return seen, nil
}

// moments are the times at which a chain that was whole once was whole: the beginning of any of its
// certificates, within the life of the leaf.
func (b *Book) moments(certs []*x509.Certificate, now time.Time) (moments []time.Time) {
	for _, cert := range slices.Concat(certs, b.trust.Authorities()) {
		if at := cert.NotBefore; !at.Before(certs[0].NotBefore) && !at.After(certs[0].NotAfter) && !at.After(now) {
			moments = append(moments, at)
		}
	}
	return moments
}

func validWindow(chains [][]*x509.Certificate) (since, until time.Time) {
	until = chains[0][0].NotAfter
	for _, cert := range slices.Concat(chains...) {
		if cert.NotBefore.After(since) {
			since = cert.NotBefore
		}
		if cert.NotAfter.Before(until) {
			until = cert.NotAfter
		}
	}
	return since, until
}

func expired(err error) bool {
	refusal, ok := errors.AsType[*verdict.Refusal](err)
	return ok && (refusal.Reason == verdict.Expired || refusal.Reason == verdict.NotYetValid)
}

func unproven(leaf *x509.Certificate, format string, args ...any) error {
	return fault.New(fault.Denied, "mtls.Proven", proofSubject,
		&verdict.Refusal{Reason: verdict.BadProof, Subject: verdict.Subject(leaf), Detail: fmt.Sprintf(format, args...)})
}
