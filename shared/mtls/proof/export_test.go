package proof

import "crypto"

// By signs by any key with any chain, as a forger would.
func By(key crypto.PrivateKey, context string, message []byte, certs ...[]byte) ([]byte, error) {
	chain, err := encodeChain(certs)
	if err != nil {
		return nil, err
	}
	signature, err := signDigest(key, signedDigest(context, chain, message))
	return appendSignature(chain, signature), err
}

// Signed is By with somebody's own way to sign a digest.
func Signed(sign func(digest []byte) ([]byte, error), context string, message []byte, certs ...[]byte) ([]byte, error) {
	chain, err := encodeChain(certs)
	if err != nil {
		return nil, err
	}
	signature, err := sign(signedDigest(context, chain, message))
	return appendSignature(chain, signature), err
}

// MaxBelieved is how many chains a Book remembers.
const MaxBelieved = maxBelieved

// Remembered counts the chains that a Witness need not verify again.
func Remembered(w *Witness) int {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	return len(w.book.chains)
}
