package proof

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
)

const (
	signLabel   = "keepgate/mtls/sign/v1"
	shortestRSA = 2048 // bits
)

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
