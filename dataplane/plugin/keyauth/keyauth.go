// Package keyauth is the plugin key-auth: it asks for an API key and says whose it is.
//
// A gate never holds keys. It holds fingerprints of them under the environment's random keys, and looks the
// fingerprint of the presented key up (store.go).
package keyauth

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "key-auth"

// Kind is the plugin.
type Kind struct{}

// Name implements plugin.Kind.
func (Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (Kind) Priority() int { return 1250 }

// New implements plugin.Kind.
func (Kind) New(config []byte, env plugin.Env) (any, error) {
	var c pluginv1.KeyAuth
	if err := proto.Unmarshal(config, &c); err != nil {
		return nil, errors.New("configuration cannot be decoded")
	}
	names := c.GetKeyNames().GetValues()
	if len(names) == 0 {
		return nil, errors.New("key_names is empty")
	}
	challenge := "Key"
	if c.Realm != nil {
		challenge = `Key realm="` + quoted(c.GetRealm()) + `"`
	}
	return &instance{
		store: env.Store, names: names, anonymous: c.GetAnonymous(), challenge: challenge,
		inHeader: c.KeyInHeader == nil || c.GetKeyInHeader(),
		inQuery:  c.KeyInQuery == nil || c.GetKeyInQuery(),
		inBody:   c.GetKeyInBody(), hide: c.GetHideCredentials(),
		preflight: c.RunOnPreflight == nil || c.GetRunOnPreflight(),
	}, nil
}

// quoted escapes text for a quoted-string, RFC 9110 §5.6.4.
func quoted(text string) string {
	var b []byte
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, text[i])
	}
	return string(b)
}

// instance is one configuration.
type instance struct {
	store                     int
	names                     []string
	anonymous, challenge      string
	inHeader, inQuery, inBody bool
	hide, preflight           bool
}

var (
	errNone      = &plugin.Refusal{Status: 401, Message: "No API key found in request"}
	errDuplicate = &plugin.Refusal{Status: 401, Message: "Duplicate API key found"}
	errUnknown   = &plugin.Refusal{Status: 401, Message: "Unauthorized"}
	errBody      = &plugin.Refusal{Status: 400, Message: "Cannot process request body"}
	errTooLarge  = &plugin.Refusal{Status: 413, Message: "Payload too large"}
	errNoRoom    = &plugin.Refusal{Status: 503, Message: "Service unavailable"}
)

// SecretParameters implements plugin.Secretive.
func (i *instance) SecretParameters() []string { return i.names }

// Access implements plugin.Accesser.
func (i *instance) Access(ex *exchange.Exchange, on *plugin.Runtime) {
	if !i.preflight && ex.Request.Method == "OPTIONS" {
		return
	}
	plugin.Authenticate(ex, on, i.anonymous, i.challenge, func() *plugin.Refusal { return i.check(ex, on) })
}

func (i *instance) check(ex *exchange.Exchange, on *plugin.Runtime) *plugin.Refusal {
	key, refusal := i.find(ex)
	if refusal != nil {
		return refusal
	}
	if key == "" {
		return errNone
	}
	store, _ := on.Store(i.store).(*Store)
	credential := store.lookup(key)
	if credential == nil || credential.expired(ex.Start) {
		return errUnknown
	}
	plugin.Identify(ex, credential.consumer, plugin.Credential{ID: credential.id, Kind: name, Identifier: credential.id})
	return nil
}

// find takes the key from where the configuration says: name by name, first the header, then the query, then the
// body. "" means that there is none.
func (i *instance) find(ex *exchange.Exchange) (key string, refusal *plugin.Refusal) {
	var body *form
	if i.inBody {
		if body, refusal = readForm(ex); refusal != nil {
			return "", refusal
		}
	}
	for _, name := range i.names {
		key, count := "", 0
		if i.inHeader {
			key, count = fromHeader(&ex.Request.Header, name)
		}
		if count == 0 && i.inQuery {
			plugin.Parameters(ex, name, func(value string) { key = value; count++ })
		}
		if count == 0 && i.inBody {
			key, count = body.find(name)
		}
		if count == 0 {
			continue
		}
		if count > 1 {
			return "", errDuplicate
		}
		if i.hide {
			i.remove(ex, name, body)
		}
		return key, nil
	}
	return "", nil
}

func fromHeader(header *exchange.Header, name string) (value string, count int) {
	for i := range header.Len() {
		if field := header.At(i); exchange.EqualFold(field.Name, name) {
			value = field.Value
			count++
		}
	}
	return value, count
}

// remove takes the key out of the request, from wherever it may be.
func (i *instance) remove(ex *exchange.Exchange, name string, body *form) {
	ex.Request.Header.Del(name)
	plugin.RemoveParameters(ex, name)
	if i.inBody {
		body.remove(ex, name)
	}
}
