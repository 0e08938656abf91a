package proof

import (
	"encoding/binary"
	"errors"
	"fmt"
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
