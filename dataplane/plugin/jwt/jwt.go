// Package jwt is the plugin jwt: it asks for a signed token (RFC 7519) and says whose it is.
//
// The token names a credential (by a claim, usually iss), and the credential says by which algorithm and with which key the
// signature is verified. What the token's header says about that must agree and decides nothing, so that a public key is
// never taken for a shared secret. Tokens with a shared secret are verified without an allocation.
package jwt

import (
	"encoding/json"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "jwt"

// Kind is the plugin.
type Kind struct{ cache cache }

// New makes the plugin.
func New() *Kind { return &Kind{} }

// Name implements plugin.Kind.
func (*Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (*Kind) Priority() int { return 1450 }

// New implements plugin.Kind.
func (*Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.Jwt
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	i := &instance{
		store: env.Store, parameters: c.GetUriParamNames().GetValues(), cookies: c.GetCookieNames().GetValues(), headers: c.GetHeaderNames().GetValues(),
		keyClaim: "iss", decoded: c.GetSecretIsBase64(), anonymous: c.GetAnonymous(), longest: c.GetMaximumExpiration(),
		preflight: c.RunOnPreflight == nil || c.GetRunOnPreflight(), challenge: "Bearer",
	}
	if c.UriParamNames == nil {
		i.parameters = []string{"jwt"}
	}
	if c.HeaderNames == nil {
		i.headers = []string{"authorization"}
	}
	if c.GetKeyClaimName() != "" {
		i.keyClaim = c.GetKeyClaimName()
	}
	for _, claim := range c.GetClaimsToVerify().GetValues() {
		switch claim {
		case "exp":
			i.exp = true
		case "nbf":
			i.nbf = true
		default:
			return nil, errors.New("claims_to_verify names a claim that is not verified")
		}
	}
	if c.Realm != nil {
		i.challenge = `Bearer realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.GetRealm()) + `"` // RFC 9110 §5.6.4
	}
	i.refusals = newRefusals(i.keyClaim, i.challenge+` error="invalid_token"`)
	return i, nil
}

// instance is one configuration.
type instance struct {
	store                        int
	parameters, cookies, headers []string
	keyClaim                     string
	decoded                      bool // secrets are base64
	exp, nbf                     bool // are verified
	longest                      float64
	anonymous, challenge         string
	preflight                    bool
	refusals                     refusals
}

// refusals are the answers, made once.
type refusals struct {
	none, several, noKey, emptyKey, unknown, algorithm, secret, signature *plugin.Refusal
	expired, early, tooLong                                               *plugin.Refusal
	challenge                                                             string
}

func newRefusals(claim, challenge string) refusals {
	said := func(message string) *plugin.Refusal {
		return refusal(map[string]string{"message": message}, challenge)
	}
	return refusals{
		none:      refusal(map[string]string{"message": "Unauthorized"}, ""),
		several:   said("Multiple tokens provided"),
		noKey:     said("No mandatory '" + claim + "' in claims"),
		emptyKey:  said("Invalid '" + claim + "' in claims"),
		unknown:   said("No credentials found for given '" + claim + "'"),
		algorithm: said("Invalid algorithm"),
		secret:    said("Invalid key/secret"),
		signature: said("Invalid signature"),
		expired:   refusal(map[string]string{"exp": "token expired"}, challenge),
		early:     refusal(map[string]string{"nbf": "token not valid yet"}, challenge),
		tooLong:   refusal(map[string]string{"exp": "exceeds maximum allowed expiration"}, challenge),
		challenge: challenge,
	}
}

// refusal is an answer of its own form, as Kong gives it.
func refusal(body map[string]string, challenge string) *plugin.Refusal {
	encoded, _ := json.Marshal(body) // of strings: cannot fail
	return &plugin.Refusal{Status: 401, Message: body["message"], Body: encoded, Challenge: challenge}
}

// SecretParameters implements plugin.Secretive.
func (i *instance) SecretParameters() []string {
	return append(append([]string{}, i.parameters...), i.headers...)
}

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	if !i.preflight && ex.Request.Method == "OPTIONS" {
		return
	}
	plugin.Authenticate(ex, on, i.anonymous, i.challenge, func() *plugin.Refusal { return i.check(ex, on) })
}

func (i *instance) check(ex *exchange.Exchange, on *plugin.Runtime) *plugin.Refusal {
	found := i.find(ex)
	switch found.count {
	case 0:
		return i.refusals.none
	case 1:
	default:
		return i.refusals.several
	}
	var t token
	if what := parse(ex, found.token, i.keyClaim, &t); what != "" {
		return refusal(map[string]string{"message": "Bad token; " + what}, i.refusals.challenge)
	}
	key, refused := i.keyOf(ex, &t)
	if refused != nil {
		return refused
	}
	credentials, _ := on.Store(i.store).(store)
	c := credentials[key]
	if c == nil {
		return i.refusals.unknown
	}
	if refused := i.verify(c, &t); refused != nil {
		return refused
	}
	if refused := i.claims(ex, &t); refused != nil {
		return refused
	}
	plugin.Identify(ex, c.consumer, plugin.Credential{ID: c.id, Kind: name, Identifier: c.key})
	return nil
}

func (i *instance) verify(c *credential, t *token) *plugin.Refusal {
	v, what := c.verifier(t.algorithm, i.decoded)
	switch {
	case what == "Invalid algorithm":
		return i.refusals.algorithm
	case what != "":
		return i.refusals.secret
	case !v.verify(t.signed, t.signature):
		return i.refusals.signature
	}
	return nil
}
