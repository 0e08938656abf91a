package secretbackend

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// hcv reads HashiCorp Vault or OpenBao.
type hcv struct {
	client *vaultclient.Client
	mount  string
	v2     bool
	login  func(ctx context.Context) (*vaultclient.Session, error)

	mu      sync.RWMutex // held for reading while the session is used
	session *vaultclient.Session
	attempt *attempt  // a login that is under way; nil: none is
	renewal time.Time // when the token has to be renewed; zero: never; guarded by renewing
	closed  bool

	renewing sync.Mutex
}

// Vault reads a key-value store of HashiCorp Vault or OpenBao, of version 2 or 1, by the sessions that login makes. It logs in when it is
// first asked, renews its token, and closes the client when it is closed.
func Vault(client *vaultclient.Client, mount string, v2 bool, login func(ctx context.Context) (*vaultclient.Session, error)) Backend {
	return &hcv{client: client, mount: mount, v2: v2, login: login}
}

const (
	closePatience = 3 * time.Second
	renewAgain    = time.Minute // after a renewal that failed
)

// Read implements [Backend]. Where the token turns out to be dead it logs in anew, once.
func (h *hcv) Read(ctx context.Context, name string, version int, fields []string) (map[string]Field, error) {
	if version != 0 && !h.v2 {
		return nil, failed(fault.Invalid, "version 1 of the key-value store numbers no versions")
	}
	for again := false; ; again = true {
		session, done, err := h.current(ctx)
		if err != nil {
			return nil, err
		}
		h.renew(ctx, session)
		found, err := h.ask(ctx, session, name, version)
		dead := false
		if forbidden(err) {
			_, lookErr := session.Lookup(ctx) // its policy may forbid what was asked for
			dead = forbidden(lookErr)
		}
		done()
		if dead {
			h.end(ctx, session)
			if again {
				return nil, fault.New(fault.Denied, "secretbackend.Read", "vault", &vaultclient.Failure{Step: vaultclient.StepLogin, Text: "the server does not know the token, it has expired, or its policies allow neither this nor looking itself up"})
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		defer found.Wipe()
		return pick(found, fields), nil
	}
}

// forbidden: the server does not know the token, or does and denies it something.
func forbidden(err error) bool {
	return fault.KindOf(err) == fault.Denied && vaultclient.StepOf(err) == vaultclient.StepRead
}

func (h *hcv) ask(ctx context.Context, session *vaultclient.Session, name string, version int) (vaultclient.Secret, error) {
	if h.v2 {
		return session.Read(ctx, h.mount, name, version)
	}
	return session.ReadV1(ctx, h.mount, name)
}

// Close implements [Backend]. A login that was made here ends.
func (h *hcv) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	h.mu.Lock()
	h.closed = true
	under := h.attempt
	h.mu.Unlock()
	if under != nil {
		under.giveUp()
		select {
		case <-under.over:
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session != nil {
		_ = h.session.Close(ctx) // its time to live ends it too
		h.session = nil
	}
	h.client.Close()
}

// pick copies the fields that are wanted.
func pick(found vaultclient.Secret, fields []string) map[string]Field {
	picked := make(map[string]Field, len(fields))
	for _, name := range fields {
		text, isText := found.Texts[name]
		other, isOther := found.Others[name]
		switch {
		case name == "":
			picked[name] = Field{Fault: "a member of the secret has to be named"}
		case isText:
			picked[name] = field(copied(text))
		case isOther:
			raw := copied(other)
			picked[name] = member(raw)
			clear(raw)
		default:
			picked[name] = Field{Fault: NoMember}
		}
	}
	return picked
}

func copied(b secret.Bytes) (data []byte) {
	b.Reveal(func(lent []byte) { data = bytes.Clone(lent) })
	return data
}

// Coarse says what an error of a vault means without a word of the server's and without where it is: whoever chose the
// address could else explore the network by it.
func Coarse(err error) string {
	if fault.KindOf(err) == fault.Corrupt {
		return "the answer cannot be used"
	}
	switch vaultclient.StepOf(err) {
	case vaultclient.StepAddress:
		return "its address cannot be used"
	case vaultclient.StepDNS, vaultclient.StepTCP, vaultclient.StepTLS:
		return "it cannot be reached"
	case vaultclient.StepServer:
		return "it cannot answer now"
	case vaultclient.StepLogin:
		return "it refuses the login"
	}
	switch fault.KindOf(err) {
	case fault.NotFound:
		return "there is no such secret"
	case fault.Denied:
		return "it cannot be read: denied"
	case fault.Unavailable:
		return "it cannot be read now"
	case fault.Invalid:
		return "the reference asks for what this vault does not have, as a version"
	}
	return "the answer cannot be used"
}

// Detailed says, for the operators of this node, what an error of a vault means. What the server said may name secrets.
func Detailed(err error) string {
	text := fault.Text(err)
	if f := FailureOf(err); f != "" {
		text = f
	}
	text, _, _ = strings.Cut(text, " (it says: ")
	return text
}

// FailureOf is the text of a failure of the client, "" where err is none.
func FailureOf(err error) string {
	if f, ok := errors.AsType[*vaultclient.Failure](err); ok {
		return f.Text
	}
	return ""
}
