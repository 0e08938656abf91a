package jwt

import (
	"crypto/fips140"
	"crypto/subtle"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secret"
)

const table = "jwt_secrets"

// store finds credentials by their keys. It is read only.
type store map[string]*credential

type credential struct {
	id, key  string
	consumer *plugin.Consumer
	*parsed
}

// parsed is what a credential verifies with; fault says why it cannot.
type parsed struct {
	algorithm string
	plain     verifier // nil: the secret cannot be used so
	decoded   verifier // with the secret taken as base64
	fault     string
}

// cache keeps what credentials were parsed to from one store to the next: a public key costs a thousand times the rest.
type cache struct {
	mu   sync.Mutex
	last map[*configv1.JwtSecret]*parsed // guarded by mu; of the last store
}

// Tables implements plugin.Keeper.
func (*Kind) Tables() []string { return []string{table} }

// Store implements plugin.Keeper.
func (k *Kind) Store(entities plugin.Entities, consumers *plugin.Consumers, report func(table, id, name, reason string)) any {
	k.cache.mu.Lock()
	defer k.cache.mu.Unlock()
	s, now := store{}, map[*configv1.JwtSecret]*parsed{}
	for id, message := range entities(table) {
		entity := message.(*configv1.JwtSecret)
		p := k.cache.last[entity]
		if p == nil {
			p = parseCredential(entity)
		}
		now[entity] = p
		c := &credential{id: id, key: entity.GetKey(), consumer: consumers.ByID(entity.GetConsumer().GetId()), parsed: p}
		switch {
		case c.consumer == nil:
			report(table, id, c.key, "its consumer does not exist")
		case p.fault != "":
			report(table, id, c.key, p.fault)
		case c.key == "":
			report(table, id, "", "it has no key")
		case s[c.key] != nil:
			report(table, id, c.key, "another credential has this key")
		default:
			s[c.key] = c
		}
	}
	k.cache.last = now
	return s
}

func parseCredential(entity *configv1.JwtSecret) *parsed {
	p := &parsed{algorithm: entity.GetAlgorithm()}
	if p.algorithm == "" {
		p.algorithm = "HS256"
	}
	if !known(p.algorithm) {
		p.fault = "its algorithm is not known"
		return p
	}
	if !strings.HasPrefix(p.algorithm, "HS") {
		var err error
		if p.plain, err = newAsymmetric(p.algorithm, entity.GetRsaPublicKey()); err != nil {
			p.fault = err.Error()
		}
		p.decoded = p.plain
		return p
	}
	if entity.GetSecret() == "" {
		p.fault = "it has no secret"
		return p
	}
	if fips140.Enforced() && len(entity.GetSecret()) < leastSecret {
		p.fault = "its secret is shorter than FIPS 140 allows"
		return p
	}
	p.plain = newSymmetric(p.algorithm, secret.Take([]byte(entity.GetSecret())))
	if decoded, err := decodeSecret(entity.GetSecret()); err == nil && len(decoded) > 0 && (!fips140.Enforced() || len(decoded) >= leastSecret) {
		p.decoded = newSymmetric(p.algorithm, secret.Take(decoded))
	}
	return p
}

// leastSecret is the shortest key, in bytes, that crypto/hmac takes where FIPS 140 is enforced.
const leastSecret = 14

// verifier returns what verifies tokens that say algorithm, and what is wrong.
func (c *credential) verifier(algorithm string, decoded bool) (v verifier, what string) {
	if subtle.ConstantTimeCompare([]byte(algorithm), []byte(c.algorithm)) != 1 {
		return nil, "Invalid algorithm"
	}
	if v = c.plain; decoded {
		v = c.decoded
	}
	if v == nil {
		return nil, "Invalid key/secret"
	}
	return v, ""
}
