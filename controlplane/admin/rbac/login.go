package rbac

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	ownHeader  = "Keepgate-Admin-Token"
	kongHeader = "Kong-Admin-Token"
	tableUsers = "rbac_users"
)

type hash = [sha256.Size]byte

func hashOf(token string) hash { return sha256.Sum256([]byte(token)) }

func same(a, b hash) bool {
	return b != hash{} && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Login finds out who calls. local says that a program on this machine does, for itself.
//
// A user's row is read at each request: who was removed, or lost a role, is out at once, on every node.
func (c *Control) Login(r *http.Request, local bool) (access.Caller, error) {
	token, err := c.given(r)
	if err != nil {
		return access.Caller{}, err
	}
	sum, from, now := hashOf(token), addressOf(r), time.Now()
	if wait := c.failures.Held(from, sum, now); wait > 0 {
		return access.Caller{}, tooMany(wait)
	}
	caller, err := c.find(r, token, local)
	if err == nil {
		c.failures.Accepted(sum)
		return caller, nil
	}
	if err == errUnknown {
		c.failures.Failed(from, sum, now)
		err = unknown()
	}
	if fault.KindOf(err) == fault.Unavailable { // whoever asks is nobody yet, and is told no more
		c.options.Log.WarnContext(r.Context(), "a token could not be looked up", "subject", fault.SubjectOf(err), "error", err)
		err = rest.Refuse(http.StatusServiceUnavailable,
			"users cannot be looked up now; the token of admin_token_file works on the control plane's machine, and its log says what is missing")
	}
	return access.Caller{}, err
}

// errUnknown is a token of nobody.
var errUnknown = unknown()

func unknown() *rest.Refusal {
	refusal := rest.Refuse(http.StatusUnauthorized, "Invalid credentials. Token or User credentials required")
	refusal.Header = http.Header{"Www-Authenticate": {`Bearer realm="keepgate"`}} // RFC 9110 §11.6.1 asks for one
	return refusal
}

func tooMany(wait time.Duration) error {
	refusal := rest.Refuse(http.StatusTooManyRequests, "too many wrong tokens; try again later")
	refusal.Header = http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(wait.Seconds())))}}
	return refusal
}

func (c *Control) find(r *http.Request, token string, local bool) (access.Caller, error) {
	sum := hashOf(token)
	if same(sum, c.host) {
		if !local {
			return access.Caller{}, errUnknown
		}
		return access.Host(), nil
	}
	if c.isFirst(sum) {
		return c.useFirst(r.Context())
	}
	if !access.LooksLikeToken(token) {
		return access.Caller{}, errUnknown
	}
	m, err := c.catalog.Get(r.Context(), catalog.Address{Table: tableUsers, Key: hex.EncodeToString(sum[:])})
	if fault.KindOf(err) == fault.NotFound {
		return access.Caller{}, errUnknown
	}
	if err != nil {
		return access.Caller{}, err
	}
	u, err := userOf(m.(*configv1.RbacUser))
	if err != nil {
		return access.Caller{}, err
	}
	if now := time.Now(); !u.Proves(token, now) {
		if u.Expired(now) {
			c.options.Log.InfoContext(r.Context(), "somebody came with a token that expired", "user", u.id, "expired", time.Unix(u.Expires, 0).UTC())
		}
		return access.Caller{}, errUnknown
	}
	return access.NewCaller(u.id, u.Name, u.Grants), nil
}

// given is the one token of a request. Two that differ are refused: which one counts would be a guess.
func (c *Control) given(r *http.Request) (token string, err error) {
	tokens := append(append([]string{}, r.Header.Values(c.options.Header)...), r.Header.Values(ownHeader)...)
	for _, value := range r.Header.Values("Authorization") {
		scheme, credentials, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, strings.TrimSpace(credentials))
		}
	}
	for _, one := range tokens {
		if one != tokens[0] {
			return "", unknown()
		}
	}
	if len(tokens) == 0 || tokens[0] == "" || len(tokens[0]) > access.MaxTokenBytes {
		return "", unknown()
	}
	return tokens[0], nil
}

func addressOf(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	address, _ := netip.ParseAddr(host) // those without an address share one budget
	return address
}
