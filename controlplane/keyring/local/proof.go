package local

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const proofLabel = "keepgate keyring local proof 1"

// Prove proves that the holder of the key file wrote message: HMAC-SHA256 under a key derived from the
// file's (HKDF-SHA256, RFC 5869), over context and message, each with its length.
func (k *Keeper) Prove(context string, message []byte) ([]byte, error) {
	return k.sum("local.Prove", context, message)
}

// Check tells whether Prove made proof. It fails with fault.Unavailable when the key file is not there.
func (k *Keeper) Check(context string, message, proof []byte) error {
	sum, err := k.sum("local.Check", context, message)
	if err != nil {
		return err
	}
	if !hmac.Equal(sum, proof) {
		return fault.New(fault.Corrupt, "local.Check", "proof", errors.New("the key file "+k.path+" did not prove it: the file belongs to another database, or this was changed"))
	}
	return nil
}

func (k *Keeper) sum(op, context string, message []byte) (sum []byte, err error) {
	material, _, err := readFile(k.path)
	if err != nil {
		return nil, k.wrapFileError(op, err)
	}
	defer material.Wipe()
	material.Reveal(func(data []byte) {
		var key []byte
		if key, err = hkdf.Key(sha256.New, data, nil, proofLabel, sha256.Size); err != nil {
			return
		}
		derived := secret.Take(key)
		defer derived.Wipe()
		mac := hmac.New(sha256.New, key)
		mac.Write(aead.Associated(context, string(message)))
		sum = mac.Sum(nil)
	})
	if err != nil {
		return nil, fault.New(fault.Internal, op, k.path, err)
	}
	return sum, nil
}
