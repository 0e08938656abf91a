package plugin

import (
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/reserved"
)

// StripIdentity removes every header that an upstream may take for ours, spelled with "_" or "-". The
// proxy does it for every request, so that no client speaks for itself.
func StripIdentity(ex *exchange.Exchange) { ex.Request.Header.DelFunc(identifies) }

// identifies says whether a header is one that some plugin identifies a client by.
func identifies(name, _ string) bool { return reserved.Identifies(name) }

// Credential is what a request was accepted by.
type Credential struct {
	ID         string
	Kind       string // the plugin's name
	Identifier string // what the upstream is told: a name or an id, never the secret
}

// Identify says who the request is: for what follows, and for the upstream in headers.
func Identify(ex *exchange.Exchange, consumer *Consumer, by Credential) {
	ex.Consumer = exchange.Consumer{
		ID: consumer.ID, Username: consumer.Username, CustomID: consumer.CustomID,
		CredentialID: by.ID, CredentialKind: by.Kind, CredentialIdentifier: by.Identifier, Groups: consumer.Groups,
		AuthenticatedGroups: ex.Consumer.AuthenticatedGroups, // proven by another plugin, and still true
	}
	setIdentity(ex)
}

func setIdentity(ex *exchange.Exchange) {
	header, who := &ex.Request.Header, &ex.Consumer
	set := func(name, value string) {
		if value == "" {
			header.Del(name)
			return
		}
		header.Set(name, value)
	}
	set("X-Consumer-ID", who.ID)
	set("X-Consumer-Custom-ID", who.CustomID)
	set("X-Consumer-Username", who.Username)
	set(reserved.Credential, who.CredentialIdentifier)
	anonymous := ""
	if who.Anonymous {
		anonymous = "true"
	}
	set(reserved.Anonymous, anonymous)
}

var errNoAnonymous = &Refusal{Status: 500, Message: "An unexpected error occurred"}

// Authenticate runs check as Kong's auth plugins do. With anonymous set, a request that an earlier plugin
// authenticated passes unchecked, and one that check answers with 401 goes on as that consumer (an id or user
// name); should the consumer not exist, the request is refused. Check identifies the request and returns
// nil, or returns what to answer. A 401 carries challenge, unless it is empty, as WWW-Authenticate.
func Authenticate(ex *exchange.Exchange, on *Runtime, anonymous, challenge string, check func() *Refusal) {
	if anonymous != "" && ex.Consumer.Authenticated() {
		return
	}
	refusal := check()
	if refusal == nil {
		return
	}
	if refusal.Status != 401 || anonymous == "" {
		Refuse(ex, refusal)
		switch refusal.Status {
		case 401:
			if refusal.Challenge != "" {
				challenge = refusal.Challenge
			}
			if challenge != "" { // a certificate is no scheme of HTTP
				ex.Response.Header.Set("WWW-Authenticate", challenge)
			}
		case 429: // budgets refill once a second or faster; RFC 6585 §4
			ex.Response.Header.Set("Retry-After", "1")
		}
		return
	}
	consumer := on.Consumers.Named(anonymous)
	if consumer == nil {
		Refuse(ex, errNoAnonymous)
		return
	}
	ex.Consumer = exchange.Consumer{ID: consumer.ID, Username: consumer.Username, CustomID: consumer.CustomID, Anonymous: true, Groups: consumer.Groups}
	setIdentity(ex)
}
