package enrolment

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/shared/secret"
)

// A token, version 1, as people copy it; every part has one spelling:
//
//	kgj1.<id>.<secret>.<root>
//
//	id      36 characters  a UUID in lower case, which may stand in logs
//	secret  43 characters  256 random bits, base64url (RFC 4648 §5) without padding
//	root    43 characters  SHA-256 of the root's SubjectPublicKeyInfo, base64url
const (
	tokenPrefix = "kgj1"
	tokenParts  = 4
	secretSize  = 32
	idSize      = 36
)

// Token lets one data plane join, once.
type Token struct {
	ID     string
	Root   Pin
	secret secret.Bytes
}

// Pin names an authority by its public key.
type Pin [sha256.Size]byte

// PinOf returns the pin of an authority's certificate.
func PinOf(authority *x509.Certificate) Pin { return sha256.Sum256(authority.RawSubjectPublicKeyInfo) }

// String is the pin as a token has it.
func (p Pin) String() string { return base64.RawURLEncoding.EncodeToString(p[:]) }

// NewToken makes a token with a secret of its own. The id is a UUID in lower case.
func NewToken(id string, root Pin) (Token, error) {
	if !isUUID(id) {
		return Token{}, errors.New("the id of a token is a UUID in lower case")
	}
	bits := make([]byte, secretSize)
	rand.Read(bits) // never fails: crypto/rand ends the process instead
	return Token{ID: id, Root: root, secret: secret.Take(bits)}, nil
}

// Text is the whole token, as it is printed once and handed to the node.
func (t Token) Text() (text secret.Bytes) {
	t.secret.Reveal(func(bits []byte) {
		line := []byte(tokenPrefix + "." + t.ID + ".")
		line = base64.RawURLEncoding.AppendEncode(line, bits)
		text = secret.Take(append(line, "."+t.Root.String()...))
	})
	return text
}

// Hash is what is kept of the token's secret: hex SHA-256. The secret has 256 random bits, so nothing slower is needed.
func (t Token) Hash() (text string) {
	t.secret.Reveal(func(bits []byte) {
		sum := sha256.Sum256(bits)
		text = hex.EncodeToString(sum[:])
	})
	return text
}

// Format prints what may be shown of a token.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "token %s", t.ID) }

// ParseToken reads what Text wrote and nothing else. Errors hold nothing of it.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(text, ".")
	switch {
	case parts[0] != tokenPrefix && strings.HasPrefix(parts[0], "kgj"):
		return Token{}, errors.New("the token is of a later version than this program: update it, or invite with a control plane of its version")
	case parts[0] != tokenPrefix:
		return Token{}, errors.New("this is no join token: one begins with kgj1, as keepgate-cp fleet invite prints it")
	case len(parts) != tokenParts:
		return Token{}, fmt.Errorf("a join token has %d parts with dots between them, and this one has %d: was it copied whole?", tokenParts, len(parts))
	}
	if !isUUID(parts[1]) {
		return Token{}, errors.New("the second part of the token is not its id: was it copied whole?")
	}
	bits, err := decode(parts[2])
	if err != nil {
		return Token{}, errors.New("the third part of the token is not its secret: was it copied whole?")
	}
	root, err := decode(parts[3])
	if err != nil {
		return Token{}, errors.New("the last part of the token is not the hash of an authority: was it copied whole?")
	}
	return Token{ID: parts[1], Root: Pin(root), secret: secret.Take(bits)}, nil
}

// decode accepts the one spelling of 32 bytes.
func decode(text string) ([]byte, error) {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(bits) != secretSize || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("not 32 bytes")
	}
	return bits, nil
}

func isUUID(text string) bool {
	if len(text) != idSize {
		return false
	}
	for i := range len(text) {
		c := text[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
