package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"hash"
	"math/big"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/shared/secret"
)

// known says whether an algorithm is one that a credential may have, RFC 7518 §3.1 and RFC 8037 §3.1.
func known(algorithm string) bool {
	switch algorithm {
	case "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA":
		return true
	}
	return false
}

// verifier verifies signatures with one key by one algorithm. Which ones is the credential's to say, never the token's.
type verifier interface {
	verify(signed string, signature []byte) bool
}

// hashOf is the hash of an algorithm that names its bits.
func hashOf(algorithm string) crypto.Hash {
	switch algorithm[2:] {
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	return crypto.SHA256
}

// symmetric is HS*. The key hides in the pool's closure, as in secret.Bytes.
type symmetric struct{ pool *sync.Pool }

type keyed struct {
	hash.Hash
	in  []byte
	sum [sha512.Size]byte
}

func newSymmetric(algorithm string, key secret.Bytes) verifier {
	make := sha256.New
	switch hashOf(algorithm) {
	case crypto.SHA384:
		make = sha512.New384
	case crypto.SHA512:
		make = sha512.New
	}
	var own []byte
	key.Reveal(func(data []byte) { own = append(own, data...) })
	return symmetric{&sync.Pool{New: func() any { return &keyed{Hash: hmac.New(make, own)} }}}
}

func (s symmetric) verify(signed string, signature []byte) bool {
	k := s.pool.Get().(*keyed)
	k.Reset()
	k.in = append(k.in[:0], signed...)
	k.Write(k.in)
	sum := k.Sum(k.sum[:0])
	right := hmac.Equal(sum, signature)
	clear(k.in)
	s.pool.Put(k)
	return right
}

// decodeSecret undoes base64 in either alphabet, padded or not.
func decodeSecret(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.DecodeString(text)
}

// leastRSABits is what crypto/rsa verifies with.
const leastRSABits = 1024

// newAsymmetric reads a public key in PEM for an algorithm.
func newAsymmetric(algorithm, text string) (verifier, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("its public key is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PublicKey(block.Bytes); err != nil {
			return nil, errors.New("its public key cannot be read")
		}
	}
	switch key := parsed.(type) {
	case *rsa.PublicKey:
		switch {
		case key.N.BitLen() < leastRSABits:
			return nil, errors.New("its RSA key is too short")
		case algorithm[:2] == "RS":
			return pkcs1{key, hashOf(algorithm)}, nil
		case algorithm[:2] == "PS":
			return pss{key, hashOf(algorithm)}, nil
		}
	case *ecdsa.PublicKey:
		bits := map[string]int{"ES256": 256, "ES384": 384, "ES512": 521}[algorithm]
		if key.Params().BitSize == bits {
			return elliptic{key, hashOf(algorithm)}, nil
		}
	case ed25519.PublicKey:
		if algorithm == "EdDSA" {
			return edwards{key}, nil
		}
	}
	return nil, errors.New("its public key is not one for " + algorithm)
}

func digest(h crypto.Hash, signed string) []byte {
	sum := h.New()
	sum.Write([]byte(signed))
	return sum.Sum(nil)
}

type pkcs1 struct {
	key  *rsa.PublicKey
	hash crypto.Hash
}

func (p pkcs1) verify(signed string, signature []byte) bool {
	return rsa.VerifyPKCS1v15(p.key, p.hash, digest(p.hash, signed), signature) == nil
}

type pss struct {
	key  *rsa.PublicKey
	hash crypto.Hash
}

// verify asks for a salt as long as the hash, RFC 7518 §3.5.
func (p pss) verify(signed string, signature []byte) bool {
	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: p.hash}
	return rsa.VerifyPSS(p.key, p.hash, digest(p.hash, signed), signature, options) == nil
}

type elliptic struct {
	key  *ecdsa.PublicKey
	hash crypto.Hash
}

// verify takes the two numbers of a signature at their full length, RFC 7518 §3.4.
func (e elliptic) verify(signed string, signature []byte) bool {
	size := (e.key.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(e.key, digest(e.hash, signed), r, s)
}

type edwards struct{ key ed25519.PublicKey }

func (e edwards) verify(signed string, signature []byte) bool {
	return ed25519.Verify(e.key, []byte(signed), signature)
}
