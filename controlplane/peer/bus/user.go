package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/keepgate/keepgate/controlplane/doctor/papers"
)

const mendCredentials = "put new credentials there (nsc generate creds)"

// user is whom a file lets in. What is zero is not said there: a seed knows its public key alone.
type user struct {
	id, account  string // public keys
	begins, ends time.Time
	token        string
	pair         nkeys.KeyPair
	notice       string // about the file that it was read from
}

// fileError is a file that nobody can log in with. It shows nothing of what the file holds but public keys.
type fileError struct{ setting, path, fact, mend string }

func (e *fileError) Error() string { return e.what() + ": " + e.mend }
func (e *fileError) what() string  { return e.setting + ": " + e.path + " " + e.fact }

func parseSeed(data []byte) (u *user, ok bool) {
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return nil, false
	}
	id, err := pair.PublicKey()
	return &user{id: id, pair: pair}, err == nil
}

// parseCredentials takes a .creds file apart. What jwt and nkeys find wrong is not repeated, since it may quote the file.
func parseCredentials(data []byte) (u *user, fault string) {
	token, err := nkeys.ParseDecoratedJWT(data)
	if err != nil || strings.Count(token, ".") != 2 {
		return nil, "holds no JWT"
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return nil, "holds a JWT that is damaged or not of a user"
	}
	u, ok := parseSeed(data)
	if !ok {
		return nil, "holds no nkey seed of a user (it begins with SU)"
	}
	if u.id != claims.Subject {
		u.pair.Wipe()
		return nil, fmt.Sprintf("holds the JWT of user %s and the seed of another, %s", claims.Subject, u.id)
	}
	u.token, u.account = token, claims.Issuer
	if claims.IssuerAccount != "" { // signed with a key that the account lets sign for it
		u.account = claims.IssuerAccount
	}
	if claims.NotBefore != 0 {
		u.begins = time.Unix(claims.NotBefore, 0).UTC()
	}
	if claims.Expires != 0 {
		u.ends = time.Unix(claims.Expires, 0).UTC()
	}
	return u, ""
}

// dates says what is wrong with the time of a JWT, by the clock of this machine; "" for nothing.
func (u *user) dates(setting string) (fact, mend string) {
	switch now := time.Now(); {
	case !u.ends.IsZero() && now.After(u.ends):
		return fmt.Sprintf("%s: the JWT of user %s ended %s", setting, u.id, papers.Stamp(u.ends)), mendCredentials
	case now.Before(u.begins):
		return fmt.Sprintf("%s: the JWT of user %s begins %s, and here it is %s", setting, u.id, papers.Stamp(u.begins), papers.Stamp(now)),
			"set the clock of this machine (timedatectl), or wait"
	}
	return "", ""
}
