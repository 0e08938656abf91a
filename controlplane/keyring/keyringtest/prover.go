// Package keyringtest helps to test what uses a keyring.
package keyringtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/keepgate/keepgate/shared/aead"
)

// Prover proves by a key that everybody knows who uses the same name: all provers of one name believe
// each other.
type Prover string

// Prove makes a proof.
func (p Prover) Prove(context string, message []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, []byte(p))
	mac.Write(aead.Associated(context, string(message)))
	return mac.Sum(nil), nil
}

// Check tells whether a Prover of the same name made proof.
func (p Prover) Check(context string, message, proof []byte) error {
	if sum, _ := p.Prove(context, message); !hmac.Equal(sum, proof) {
		return errors.New("proven by nobody of this control plane")
	}
	return nil
}
