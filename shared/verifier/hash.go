// Package verifier holds one-way forms: password hashes and keyed fingerprints. It bounds what a stored
// hash may cost to verify, and with [Guard] what all clients of a gate together may cost.
//
// A new password hash is argon2id (RFC 9106) with m=19 MiB, t=2, p=1, the first choice of the OWASP
// password storage cheat sheet; under FIPS 140 it is PBKDF2-HMAC-SHA256 (SP 800-132), with the same
// sheet's 600,000 iterations. The text is a PHC string, salt and tag in base64 without padding:
//
//	$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<tag>
//	$pbkdf2-sha256$i=<iterations>$<salt>$<tag>        also -sha512, and ",l=<tag bytes>" after i
//	<40 hex digits>                                   Kong's SHA-1 of password and consumer id; read only
//
// Which strings of an input count as hashes at all is the caller's rule: a hash where a password is
// expected is a password.
package verifier

import (
	"crypto/fips140"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" // Kong's stored form, verified and never made
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/keepgate/keepgate/shared/fault"
)

// The cost of a new hash.
const (
	argonMemory      = 19 << 10 // KiB
	argonPasses      = 2
	argonLanes       = 1
	pbkdf2Iterations = 600_000
	saltSize         = 16
	tagSize          = 32
)

// The bounds of a hash that is accepted for verification.
const (
	MaxMemoryKiB  = 64 << 10
	MaxPasses     = 10
	MaxLanes      = 4
	MinIterations = 1_000 // SP 800-132 §5.2
	MaxIterations = 2_000_000
	MinSaltBytes  = 8
	MaxSaltBytes  = 64
	MinTagBytes   = 16
	MaxTagBytes   = 64
	maxHashText   = 320
)

// Scheme is the algorithm of a hash.
type Scheme uint8

const (
	Argon2id     Scheme = iota + 1
	PBKDF2SHA256        // PBKDF2-HMAC-SHA256
	PBKDF2SHA512        // PBKDF2-HMAC-SHA512
	KongSHA1            // hex(SHA-1(password, consumer id)), as Kong's basic-auth stores it
)

// Hash is a parsed password hash whose parameters are within the bounds.
type Hash struct {
	Scheme     Scheme
	memory     uint32 // KiB
	passes     uint32
	lanes      uint8
	iterations int
	salt, tag  []byte
}

// HashPassword returns a new hash of password, as a PHC string, under a random salt.
func HashPassword(password []byte) (phc string) {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	h := Hash{Scheme: Argon2id, memory: argonMemory, passes: argonPasses, lanes: argonLanes, salt: salt, tag: make([]byte, tagSize)}
	if fips140.Enabled() {
		h = Hash{Scheme: PBKDF2SHA256, iterations: pbkdf2Iterations, salt: salt, tag: make([]byte, tagSize)}
	}
	tag, err := h.compute(password)
	if err != nil {
		panic("verifier: own parameters refused: " + err.Error())
	}
	h.tag = tag
	return h.text()
}

// VerifyPassword reports whether password is the one that was hashed. It fails with fault.Invalid when
// phc is not a PHC string within the bounds; Kong's form needs [Hash.Verify] and a consumer id.
func VerifyPassword(phc string, password []byte) (bool, error) {
	h, err := ParseHash(phc)
	if err != nil {
		return false, err
	}
	if h.Scheme == KongSHA1 {
		return false, fault.Newf(fault.Invalid, "verifier.VerifyPassword", "", "a SHA-1 form cannot be verified without its consumer")
	}
	return h.Verify(password, "")
}

// Verify reports whether password is the one that was hashed, comparing in constant time. The consumer
// id is what Kong's form is salted with; the others ignore it. It fails with fault.Invalid when strict
// FIPS mode refuses the scheme.
func (h Hash) Verify(password []byte, consumer string) (bool, error) {
	var tag []byte
	var err error
	if h.Scheme == KongSHA1 {
		tag, err = kongSHA1(password, consumer)
	} else {
		tag, err = h.compute(password)
	}
	if err != nil {
		return false, fault.Newf(fault.Invalid, "verifier.Verify", "", "hashing: %w", err)
	}
	return subtle.ConstantTimeCompare(tag, h.tag) == 1, nil
}

// compute hashes password with h's parameters to a tag as long as h's.
func (h Hash) compute(password []byte) ([]byte, error) {
	switch h.Scheme {
	case Argon2id:
		if fips140.Enforced() {
			return nil, errors.New("argon2id is not allowed in strict FIPS 140 mode")
		}
		return argon2.IDKey(password, h.salt, h.passes, h.memory, h.lanes, uint32(len(h.tag))), nil
	case PBKDF2SHA256:
		return pbkdf2.Key(sha256.New, string(password), h.salt, h.iterations, len(h.tag))
	case PBKDF2SHA512:
		return pbkdf2.Key(sha512.New, string(password), h.salt, h.iterations, len(h.tag))
	}
	return nil, fmt.Errorf("unknown scheme %d", h.Scheme)
}

func kongSHA1(password []byte, consumer string) ([]byte, error) {
	if fips140.Enforced() { // sha1 would panic
		return nil, errors.New("SHA-1 is not allowed in strict FIPS 140 mode")
	}
	digest := sha1.New() // see the import
	digest.Write(password)
	digest.Write([]byte(consumer))
	return digest.Sum(nil), nil
}

func isKongSHA1(text string) bool {
	if len(text) != hex.EncodedLen(sha1.Size) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
