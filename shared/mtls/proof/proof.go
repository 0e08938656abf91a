// Package proof is what an identity says outside of a connection: signed by its certificate's key, and believed by the policy
// that holds for connections.
package proof

import (
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

const proofSubject = "proof"

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

// Book signs and checks proofs under one trust. It remembers which chains that has verified, so that a peer who says
// something every second costs one signature check each, not one for each certificate. Only a chain whose leaf has
// signed gets a place, so strangers cannot fill it.
type Book struct {
	trust *trust.Trust

	mu     sync.Mutex
	chains map[believedKey]*believedChain // guarded by mu; at most maxBelieved
}

// NewBook makes a Book of nothing yet.
func NewBook(t *trust.Trust) *Book { return &Book{trust: t} }

// Sign proves that the holder of this identity said message in context. A context names one use ("lease"),
// so that a proof of one thing is none of another. The proof holds the certificate chain and a signature
// by the certificate's key over SHA-256 of label, context, chain and message, each after its length as 8
// bytes: ECDSA, RSA-PSS (salt as long as the hash) or Ed25519, as the key is.
func (b *Book) Sign(context string, message []byte) (proof []byte, err error) {
	own := b.trust.Own()
	if b.trust.Mode() == trust.Shared {
		return nil, fault.New(fault.Invalid, "mtls.Sign", own.CertFile, errShared)
	}
	chain, err := encodeChain(own.Pair.Certificate)
	if err != nil {
		return nil, fault.New(fault.Invalid, "mtls.Sign", own.CertFile, err)
	}
	signature, err := signDigest(own.Pair.PrivateKey, signedDigest(context, chain, message))
	if err != nil {
		return nil, fault.New(fault.Internal, "mtls.Sign", own.KeyFile, err)
	}
	return appendSignature(chain, signature), nil
}

// Proven returns who said message in context. It asks what a connection is asked (trust, revocation, role,
// organisation, key usage), at the given moment, and fails with a [Refusal].
func (b *Book) Proven(context string, message, proof []byte, at Moment, roles ...identity.Role) (identity.Identity, error) {
	chain, certs, signature, err := decodeProof(proof)
	if err != nil {
		return identity.Identity{}, unproven(nil, "%v", err)
	}
	if b.trust.Mode() == trust.Shared {
		return identity.Identity{}, unproven(nil, "%v", errShared)
	}
	seen, err := b.believe(chain, certs, at, time.Now())
	if err != nil {
		return identity.Identity{}, err
	}
	id, err := b.trust.CheckIdentity(seen.chains, trust.Demand{Roles: roles})
	if err != nil {
		return identity.Identity{}, err
	}
	if err := checkSignature(seen.leaf, signedDigest(context, chain, message), signature); err != nil {
		return identity.Identity{}, unproven(seen.leaf, "%v", err)
	}
	b.keep(seen)
	return id, nil
}

// Believes says whether the chain of a proof is one that Proven(…, Now, …) has verified before, so that
// asking again costs one signature check. Who fears a flood may look at the others more seldom.
func (b *Book) Believes(proof []byte) bool {
	chain, _, _, err := decodeProof(proof)
	return err == nil && b.find(believedKey{sha256.Sum256(chain), Now}, time.Now()) != nil
}

// errShared says why nobody's word counts whose certificate everybody has.
var errShared = errors.New("a shared certificate proves nothing about who said something")
