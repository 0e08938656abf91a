package mtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A proof, version 1, integers big-endian; frozen by testdata/proof-*.golden:
//
//	version      1 byte   0x01
//	count        1 byte   certificates, 1 to 8, the signer's first
//	certificate  4 + n    length, DER; count times
//	signature    2 + n    length, bytes; nothing follows
const (
	proofVersion      = 1
	maxProof          = 32 << 10
	maxProofChain     = 8
	maxSignature      = 1 << 10 // RSA of 8192 bits
	maxBelieved       = 256
	proofHeader       = 2
	certificateHeader = 4
	signatureHeader   = 2
)

var errProof = errors.New("not a proof of version 1")

// encodeChain writes all of a proof but the signature.
func encodeChain(certs [][]byte) ([]byte, error) {
	chain := []byte{proofVersion, byte(len(certs))}
	for _, der := range certs {
		chain = binary.BigEndian.AppendUint32(chain, uint32(len(der)))
		chain = append(chain, der...)
	}
	if len(certs) == 0 || len(certs) > maxProofChain || len(chain) > maxProof-signatureHeader-maxSignature {
		return nil, fmt.Errorf("a chain of %d certificates (%d bytes) is too long to sign with: %d and %d are the most",
			len(certs), len(chain), maxProofChain, maxProof-signatureHeader-maxSignature)
	}
	return chain, nil
}

func appendSignature(chain, signature []byte) []byte {
	chain = binary.BigEndian.AppendUint16(chain, uint16(len(signature)))
	return append(chain, signature...)
}

// decodeProof accepts what is written above and nothing else. The results are views of proof; chain is all
// but the signature.
func decodeProof(proof []byte) (chain []byte, certs [][]byte, signature []byte, err error) {
	if len(proof) > maxProof || len(proof) < proofHeader || proof[0] != proofVersion {
		return nil, nil, nil, errProof
	}
	count, rest := int(proof[1]), proof[proofHeader:]
	if count < 1 || count > maxProofChain {
		return nil, nil, nil, errProof
	}
	for range count {
		if len(rest) < certificateHeader {
			return nil, nil, nil, errProof
		}
		size := binary.BigEndian.Uint32(rest)
		rest = rest[certificateHeader:]
		if size == 0 || uint64(size) > uint64(len(rest)) {
			return nil, nil, nil, errProof
		}
		certs = append(certs, rest[:size:size])
		rest = rest[size:]
	}
	chain = proof[:len(proof)-len(rest)]
	if len(rest) < signatureHeader {
		return nil, nil, nil, errProof
	}
	size := int(binary.BigEndian.Uint16(rest))
	signature = rest[signatureHeader:]
	if size == 0 || size > maxSignature || size != len(signature) {
		return nil, nil, nil, errProof
	}
	return chain, certs, signature, nil
}

// believed remembers which chains the trust it belongs to has verified, so that a peer who says something
// every second costs one signature check each, not one for each certificate. Only a chain whose leaf has
// signed gets a place, so strangers cannot fill it. The zero value is ready.
type believed struct {
	mu     sync.Mutex
	chains map[believedKey]*believedChain // guarded by mu; at most maxBelieved
}

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
func (t *trust) believe(chain []byte, certs [][]byte, at Moment, now time.Time) (*believedChain, error) {
	key := believedKey{sha256.Sum256(chain), at}
	if found := t.believed.find(key, now); found != nil {
		return found, nil
	}
	parsed := make([]*x509.Certificate, len(certs))
	for i, der := range certs {
		var err error
		if parsed[i], err = x509.ParseCertificate(bytes.Clone(der)); err != nil {
			return nil, unproven(nil, "certificate %d: %v", i+1, err)
		}
	}
	seen, err := t.verifyProof(parsed, at, now)
	if err != nil {
		return nil, err
	}
	seen.key = key
	return seen, nil
}

func (b *believed) find(key believedKey, now time.Time) *believedChain {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := b.chains[key]
	if found == nil || now.Before(found.since) || now.After(found.until) {
		return nil
	}
	return found
}

func (b *believed) keep(chain *believedChain) {
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
