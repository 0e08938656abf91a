package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	signLabel    = "keepgate/mtls/sign/v1"
	shortestRSA  = 2048 // bits
	proofSubject = "proof"
)

// Moment is the time for which a proof must hold.
type Moment int

const (
	// Now is for what is said now: the signer could open a connection at this moment.
	Now Moment = iota
	// Ever is for what is stored: a certificate that has expired since still counts, one that is revoked
	// or no longer trusted does not. A CA that drops expired certificates from its CRL forgets that they
	// were revoked, and so does Ever.
	Ever
)

// Sign proves that the holder of this identity said message in context. A context names one use ("lease"),
// so that a proof of one thing is none of another. The proof holds the certificate chain and a signature
// by the certificate's key over SHA-256 of label, context, chain and message, each after its length as 8
// bytes: ECDSA, RSA-PSS (salt as long as the hash) or Ed25519, as the key is.
func (s *Source) Sign(context string, message []byte) (proof []byte, err error) {
	t := s.trust.Load()
	if s.options.Mode == Shared {
		return nil, invalid("mtls.Sign", s.files.Cert, errShared)
	}
	chain, err := encodeChain(t.pair.Certificate)
	if err != nil {
		return nil, invalid("mtls.Sign", s.files.Cert, err)
	}
	signature, err := signDigest(t.pair.PrivateKey, signedDigest(context, chain, message))
	if err != nil {
		return nil, fault.New(fault.Internal, "mtls.Sign", s.files.Key, err)
	}
	return appendSignature(chain, signature), nil
}

// Proven returns who said message in context. It asks what a connection is asked (trust, revocation, role,
// organisation, key usage), at the given moment, and fails with a [Refusal].
func (s *Source) Proven(context string, message, proof []byte, at Moment, roles ...Role) (Identity, error) {
	chain, certs, signature, err := decodeProof(proof)
	if err != nil {
		return Identity{}, unproven(nil, "%v", err)
	}
	t := s.trust.Load()
	if s.options.Mode == Shared {
		return Identity{}, unproven(nil, "%v", errShared)
	}
	seen, err := t.believe(chain, certs, at, time.Now())
	if err != nil {
		return Identity{}, err
	}
	id, err := t.checkIdentity(seen.chains, demand{roles: roles})
	if err != nil {
		return Identity{}, err
	}
	if err := checkSignature(seen.leaf, signedDigest(context, chain, message), signature); err != nil {
		return Identity{}, unproven(seen.leaf, "%v", err)
	}
	t.believed.keep(seen)
	return id, nil
}

// Believes says whether the chain of a proof is one that Proven(…, Now, …) has verified before, so that
// asking again costs one signature check. Who fears a flood may look at the others more seldom.
func (s *Source) Believes(proof []byte) bool {
	chain, _, _, err := decodeProof(proof)
	return err == nil && s.trust.Load().believed.find(believedKey{sha256.Sum256(chain), Now}, time.Now()) != nil
}

// errShared says why nobody's word counts whose certificate everybody has.
var errShared = errors.New("a shared certificate proves nothing about who said something")

// signedDigest binds what is signed to its use and to the very chain it came with. The label begins with its length, which no TLS 1.3
// CertificateVerify (RFC 8446 §4.4.3: 64 spaces first) and no certificate begins with.
func signedDigest(context string, chain, message []byte) []byte {
	h := sha256.New()
	writePart(h, []byte(signLabel))
	writePart(h, []byte(context))
	writePart(h, chain)
	writePart(h, message)
	return h.Sum(nil)
}

func writePart(h hash.Hash, part []byte) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	h.Write(size[:]) // a hash never fails
	h.Write(part)
}

func signDigest(key crypto.PrivateKey, digest []byte) ([]byte, error) {
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return ecdsa.SignASN1(rand.Reader, key, digest)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, digest), nil
	case *rsa.PrivateKey:
		if key.N.BitLen() < shortestRSA {
			return nil, fmt.Errorf("an RSA key of %d bits does not sign: %d is the least", key.N.BitLen(), shortestRSA)
		}
		return rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}
	return nil, fmt.Errorf("a key of type %T does not sign", key)
}

// checkSignature takes the algorithm from the certificate's key and from nowhere else.
func checkSignature(leaf *x509.Certificate, digest, signature []byte) error {
	wrong := errors.New("the signature is not of this message")
	switch key := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, digest, signature) {
			return nil
		}
		return wrong
	case ed25519.PublicKey:
		if ed25519.Verify(key, digest, signature) {
			return nil
		}
		return wrong
	case *rsa.PublicKey:
		if key.N.BitLen() < shortestRSA {
			return fmt.Errorf("signed by an RSA key of %d bits: %d is the least", key.N.BitLen(), shortestRSA)
		}
		if rsa.VerifyPSS(key, crypto.SHA256, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) != nil {
			return wrong
		}
		return nil
	}
	return fmt.Errorf("a key of type %T signs nothing", leaf.PublicKey)
}

// verifyProof is verifyChain for a signature. What it returns says until which time, and since when, the answer
// holds without asking again.
func (t *trust) verifyProof(certs []*x509.Certificate, at Moment, now time.Time) (*believedChain, error) {
	leaf := certs[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, refuse(WrongUsage, leaf, "its key usage does not allow signatures")
	}
	d := demand{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	chains, err := t.verifyChain(certs, d, now)
	if err != nil && at == Ever && expired(err) {
		for _, moment := range t.moments(certs, now) {
			if chains, err = t.verifyChain(certs, d, moment); err == nil || !expired(err) {
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
func (t *trust) moments(certs []*x509.Certificate, now time.Time) (moments []time.Time) {
	for _, cert := range slices.Concat(certs, t.cas) {
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
	refusal, ok := errors.AsType[*Refusal](err)
	return ok && (refusal.Reason == Expired || refusal.Reason == NotYetValid)
}

func unproven(leaf *x509.Certificate, format string, args ...any) error {
	return fault.New(fault.Denied, "mtls.Proven", proofSubject,
		&Refusal{Reason: BadProof, Subject: describe(leaf), Detail: fmt.Sprintf(format, args...)})
}
