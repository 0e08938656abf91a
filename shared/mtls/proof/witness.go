package proof

import (
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// Witness checks proofs without being anybody: the CA's certificates are enough, so that an auditor needs no
// key.
type Witness struct{ book *Book }

// NewWitness makes a Witness of the CAs, and lists, of a trust of nobody.
func NewWitness(t *trust.Trust) *Witness { return &Witness{NewBook(t)} }

// Proven is [Book.Proven] for somebody of no organisation: that of the signer is not compared, but for what
// the caller makes of the identity.
func (w *Witness) Proven(context string, message, proof []byte, at Moment, roles ...identity.Role) (identity.Identity, error) {
	chain, certs, signature, err := decodeProof(proof)
	if err != nil {
		return identity.Identity{}, unproven(nil, "%v", err)
	}
	seen, err := w.book.believe(chain, certs, at, time.Now())
	if err != nil {
		return identity.Identity{}, err
	}
	id, err := verdict.IdentityOf(seen.leaf)
	if err != nil {
		return identity.Identity{}, err
	}
	if !slices.Contains(roles, id.Role) {
		return identity.Identity{}, verdict.Refuse(verdict.WrongRole, seen.leaf, "role %s, but only %s may say this", id.Role, roles)
	}
	for _, chain := range seen.chains {
		if err := trust.CheckConstraints(chain, id.Role); err != nil {
			return identity.Identity{}, err
		}
	}
	if err := checkSignature(seen.leaf, signedDigest(context, chain, message), signature); err != nil {
		return identity.Identity{}, unproven(seen.leaf, "%v", err)
	}
	w.book.keep(seen)
	return id, nil
}
