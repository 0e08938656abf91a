// Package basicauth is the plugin basic-auth: it asks for a user name and a password, RFC 7617.
//
// Passwords are held as memory-hard hashes. Verifying one is expensive on purpose, so every verification
// passes the guard of shared/verifier, which bounds what all clients together can cost and remembers verdicts.
package basicauth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/verifier"
)

const (
	name            = "basic-auth"
	credentialTable = "basicauth_credentials"
	maxCredentials  = 4096 // bytes of one header value
)

// Guard verifies passwords at a bounded cost; *verifier.Guard is one.
type Guard interface {
	Verify(ctx context.Context, a verifier.Attempt) verifier.Verdict
}

// Kind is the plugin.
type Kind struct{ guard Guard }

// New makes the plugin. All its instances share guard.
func New(guard Guard) Kind { return Kind{guard} }

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 1100 }

// New implements plugin.Kind.
func (k Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.BasicAuth
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	realm := "service"
	if c.Realm != nil {
		realm = c.GetRealm()
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`) // RFC 9110 §5.6.4
	return &instance{
		guard: k.guard, store: env.Store, anonymous: c.GetAnonymous(), hide: c.GetHideCredentials(),
		challenge: `Basic realm="` + escape.Replace(realm) + `"`,
	}, nil
}

// Tables implements plugin.Keeper.
func (Kind) Tables() []string { return []string{credentialTable} }

// store finds credentials by user name. It is read only.
type store map[string]*credential

type credential struct {
	id, hash string
	consumer *plugin.Consumer
}

// Store implements plugin.Keeper.
func (Kind) Store(entities plugin.Entities, consumers *plugin.Consumers, report func(table, id, name, reason string)) any {
	s := store{}
	for id, message := range entities(credentialTable) {
		entity := message.(*configv1.BasicauthCredential)
		c := &credential{id: id, hash: entity.GetPassword(), consumer: consumers.ByID(entity.GetConsumer().GetId())}
		if c.consumer == nil {
			report(credentialTable, id, entity.GetUsername(), "its consumer does not exist")
			continue
		}
		if _, err := verifier.ParseHash(c.hash); err != nil {
			report(credentialTable, id, entity.GetUsername(), "its password is no hash that this node can verify")
			continue
		}
		s[entity.GetUsername()] = c
	}
	return s
}

// instance is one configuration.
type instance struct {
	guard                Guard
	store                int
	anonymous, challenge string
	hide                 bool
}

var (
	errUnauthorized = &plugin.Refusal{Status: 401, Message: "Unauthorized"}
	errTooMany      = &plugin.Refusal{Status: 429, Message: "Too many requests"}
	errAbandoned    = &plugin.Refusal{Status: 503, Message: "Service unavailable"}
)

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	plugin.Authenticate(ex, on, i.anonymous, i.challenge, func() *plugin.Refusal { return i.check(ex, on) })
}

// check tries Proxy-Authorization, then Authorization.
func (i *instance) check(ex *exchange.Exchange, on *plugin.Runtime) *plugin.Refusal {
	users, _ := on.Store(i.store).(store)
	refusal := errUnauthorized
	for _, header := range [...]string{"Proxy-Authorization", "Authorization"} {
		user, password, ok := parse(ex, ex.Request.Header.Get(header))
		if !ok {
			continue
		}
		if i.hide { // right or wrong, as Kong does: with anonymous set a wrong one would go on to the upstream
			ex.Request.Header.Del(header)
		}
		var found *credential
		if refusal, found = i.verify(ex, users, user, password); refusal == nil {
			plugin.Identify(ex, found.consumer, plugin.Credential{ID: found.id, Kind: name, Identifier: ex.Copy([]byte(user))})
			return nil
		}
		if refusal != errUnauthorized {
			return refusal
		}
	}
	return refusal
}

func (i *instance) verify(ex *exchange.Exchange, users store, user string, password []byte) (*plugin.Refusal, *credential) {
	attempt := verifier.Attempt{Client: ex.Request.ClientAddr, User: user, Password: password}
	found := users[user]
	if found != nil {
		attempt.CredentialID, attempt.Hash, attempt.Salt = found.id, found.hash, found.consumer.ID
	}
	ctx := ex.Context
	if ctx == nil {
		ctx = context.Background()
	}
	switch i.guard.Verify(ctx, attempt) {
	case verifier.Accepted:
		if found != nil {
			return nil, found
		}
		return errUnauthorized, nil
	case verifier.TooMany:
		return errTooMany, nil
	case verifier.Abandoned:
		return errAbandoned, nil
	}
	return errUnauthorized, nil
}

// parse reads credentials of the scheme Basic. The password may hold ":"; the user name cannot.
func parse(ex *exchange.Exchange, value string) (user string, password []byte, ok bool) {
	const scheme = "basic "
	if len(value) > maxCredentials || len(value) < len(scheme) || !exchange.EqualFold(value[:len(scheme)], scheme) {
		return "", nil, false
	}
	encoded := strings.Trim(value[len(scheme):], " ")
	decoded := ex.Bytes(base64.StdEncoding.DecodedLen(len(encoded)))
	n, err := base64.StdEncoding.Decode(decoded, []byte(encoded))
	if err != nil {
		return "", nil, false
	}
	name, password, ok := bytes.Cut(decoded[:n], []byte(":"))
	if !ok || len(name) == 0 {
		return "", nil, false
	}
	return exchange.View(name), password, true
}
