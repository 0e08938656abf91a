package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	tokenBytes  = 32
	tokenPrefix = "kgt_" // by which scanners of repositories and logs can tell one
	// MaxTokenBytes bounds what is looked at as a token.
	MaxTokenBytes = 256
)

// NewToken makes a token of 256 random bits. It is shown once and never stored.
func NewToken() string {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
}

// LooksLikeToken reports whether a text has the form of one, so that others cost no look-up.
func LooksLikeToken(text string) bool {
	random, found := strings.CutPrefix(text, tokenPrefix)
	if !found || len(random) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(random)
	return err == nil
}

// HashToken is what is stored of a token. A plain hash is enough: nobody searches 256 random bits.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Authority is what a user's row proves of them. It rests as one sealed text, so that neither a name, nor a token,
// nor a grant can be changed by itself.
type Authority struct {
	Name      string  `json:"name"`
	TokenHash string  `json:"token_hash"`
	Enabled   bool    `json:"enabled"`
	Expires   int64   `json:"expires,omitempty"` // Unix seconds from which the token proves nothing; 0 is never
	Grants    []Grant `json:"grants"`
}

var errAuthority = errors.New("a user's stored authority is not of its form")

// Encode writes the authority, its grants in order and each once.
func (a Authority) Encode() (string, error) {
	a.Grants = slices.Clone(a.Grants)
	slices.SortFunc(a.Grants, Grant.Compare)
	a.Grants = append([]Grant{}, slices.Compact(a.Grants)...)
	text, err := json.Marshal(a)
	return string(text), err
}

// ParseAuthority reads what Encode wrote.
func ParseAuthority(text string) (a Authority, err error) {
	if json.Unmarshal([]byte(text), &a) != nil || a.Name == "" || len(a.TokenHash) != 2*sha256.Size || a.Expires < 0 {
		return Authority{}, errAuthority
	}
	return a, nil
}

// Proves reports whether a token is the one that the authority is about and may be used now. The time it takes does not
// depend on how much of the token is right.
func (a Authority) Proves(token string, now time.Time) bool {
	same := subtle.ConstantTimeCompare([]byte(HashToken(token)), []byte(a.TokenHash)) == 1
	return same && a.Enabled && !a.Expired(now)
}

// Expired reports whether the authority's token proves nothing any more, whatever it is.
func (a Authority) Expired(now time.Time) bool { return a.Expires != 0 && now.Unix() >= a.Expires }
