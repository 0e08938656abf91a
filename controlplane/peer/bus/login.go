package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	maxSecretFile = 64 << 10 // of what is read as a seed or as credentials, in bytes
	expiresSoon   = 14 * 24 * time.Hour

	nkeySetting        = "nats_nkey_file"
	credentialsSetting = "nats_credentials_file"
)

// login is how this node shows an external NATS who it is. Its file is read anew, under the same rule, at each
// connection: whoever replaces it restarts nothing.
type login struct {
	setting, path string
	notice        string // about the file, at the start

	mu    sync.Mutex
	begun *user // whose JWT was sent on a connection and has to sign for it; guarded by mu

	conn atomic.Pointer[nats.Conn] // whose option names the user of a seed; nil until there is one
}

// loginOf returns the login that the settings name, and reads nothing; nil without one.
func loginOf(config Config) (*login, error) {
	l := &login{setting: nkeySetting, path: config.NKeyFile}
	switch {
	case config.NKeyFile != "" && config.CredentialsFile != "":
		return nil, errors.New("nats_nkey_file and nats_credentials_file exclude each other: take one of them out")
	case config.CredentialsFile != "":
		l.setting, l.path = credentialsSetting, config.CredentialsFile
	case config.NKeyFile == "":
		return nil, nil
	}
	return l, nil
}

// option checks the file, and has its user shown at each connection.
func (l *login) option() (nats.Option, error) {
	u, err := l.read()
	if err != nil {
		return nil, err
	}
	u.pair.Wipe()
	l.notice = u.notice
	if l.setting == credentialsSetting {
		return nats.UserJWT(l.token, l.sign), nil
	}
	return nats.Nkey(u.id, l.signFor(u.id)), nil
}

// read returns whose the file is, with a key pair to be wiped.
func (l *login) read() (*user, error) {
	data, notice, err := secretfile.Read(l.path, maxSecretFile)
	if err != nil {
		return nil, l.unreadable(err)
	}
	defer clear(data)
	if l.setting == nkeySetting {
		if u, ok := parseSeed(data); ok {
			u.notice = notice
			return u, nil
		}
		return nil, &fileError{l.setting, l.path, "holds no nkey seed of a user (it begins with SU)", "make one with nk -gen user"}
	}
	u, fault := parseCredentials(data)
	if fault != "" {
		return nil, &fileError{l.setting, l.path, fault, mendCredentials}
	}
	u.notice = notice
	return u, nil
}

func (l *login) unreadable(err error) *fileError {
	fact, mend := err.Error(), "put it there, or mend "+l.setting
	if open, ok := errors.AsType[*secretfile.OpenError](err); ok {
		mend = open.Mend()
		fact = strings.TrimSuffix(fact, ": "+mend)
	} else if errors.Is(err, fs.ErrPermission) {
		mend = "chown it to the user that runs keepgate-cp"
	}
	return &fileError{l.setting, l.path, "cannot be used: " + strings.TrimPrefix(fact, l.path+" "), mend}
}

// token begins a login with credentials. Whether it is their time is the server's to judge.
func (l *login) token() (string, error) {
	u, err := l.read()
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun != nil {
		l.begun.pair.Wipe()
	}
	l.begun = u
	return u.token, nil
}

// sign ends it, with the seed that was read together with the JWT.
func (l *login) sign(nonce []byte) ([]byte, error) {
	l.mu.Lock()
	u := l.begun
	l.begun = nil
	l.mu.Unlock()
	if u == nil {
		return nil, errors.New("a signature for no login")
	}
	defer u.pair.Wipe()
	return u.pair.Sign(nonce)
}

// signFor signs with the seed of a user that was named before. When the file holds another by now, this login is in vain,
// and the next one names that: nats.go holds the connection's lock while it asks, so that its option may be changed.
func (l *login) signFor(named string) nats.SignatureHandler {
	return func(nonce []byte) ([]byte, error) {
		u, err := l.read()
		if err != nil {
			return nil, err
		}
		defer u.pair.Wipe()
		if conn := l.conn.Load(); conn != nil && u.id != named {
			conn.Opts.Nkey, named = u.id, u.id
			return nil, errReplaced
		}
		return u.pair.Sign(nonce)
	}
}

// errReplaced passes by itself.
var errReplaced = errors.New("the seed was replaced")

// refused says why a server may not have taken the user of the file as it is now, and what mends that.
func (l *login) refused() (fact, mend string) {
	u, err := l.read()
	if file, ok := errors.AsType[*fileError](err); ok {
		return file.what(), file.mend
	}
	u.pair.Wipe()
	if fact, mend := u.dates(l.setting); fact != "" {
		return fact, mend
	}
	if l.setting == nkeySetting {
		return fmt.Sprintf("%s: the server does not know user %s", l.setting, u.id),
			"add this user to the server's authorization, with leave to publish and subscribe under keepgate.>"
	}
	return fmt.Sprintf("%s: the server does not let user %s in: it was revoked, or the server does not know its account %s", l.setting, u.id, u.account),
		mendCredentials + ", or give the server the account (nsc push)"
}

// examine is the step of an examination that looks at the file alone.
func (l *login) examine(context.Context) finding.Result {
	u, err := l.read()
	if file, ok := errors.AsType[*fileError](err); ok {
		return finding.Bad(file.what(), file.mend)
	}
	u.pair.Wipe()
	fact, mend := u.dates(l.setting)
	switch {
	case fact != "":
		return finding.Bad(fact, mend)
	case l.setting == nkeySetting:
		return finding.Fine("user %s", u.id)
	case u.ends.IsZero():
		return finding.Fine("user %s of account %s, without an end", u.id, u.account)
	case time.Until(u.ends) < expiresSoon:
		return finding.Beware(fmt.Sprintf("%s: the JWT of user %s ends soon, %s", l.setting, u.id, papers.Stamp(u.ends)), mendCredentials)
	}
	return finding.Fine("user %s of account %s, until %s", u.id, u.account, papers.Stamp(u.ends))
}
