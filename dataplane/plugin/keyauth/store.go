package keyauth

import (
	"encoding/hex"
	"time"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

const (
	credentialTable  = "keyauth_credentials"
	fingerprintTable = "fingerprint_keys"
	keyField         = "key"
	minKeyBytes      = 16
)

type fingerprint = [32]byte

// Store finds credentials by the fingerprints of their keys. It is read only.
type Store struct {
	fingerprinters []*verifier.Fingerprinter // one, or two while the environment's key changes
	credentials    map[fingerprint]*credential
}

type credential struct {
	id        string
	consumer  *plugin.Consumer
	expiresAt int64 // Unix seconds, 0 never
}

func (c *credential) expired(now time.Time) bool {
	return c.expiresAt != 0 && now.Unix() >= c.expiresAt
}

// Tables implements plugin.Keeper.
func (Kind) Tables() []string { return []string{credentialTable, fingerprintTable} }

// Store implements plugin.Keeper.
func (Kind) Store(entities plugin.Entities, consumers *plugin.Consumers, report func(table, id, name, reason string)) any {
	s := &Store{credentials: map[fingerprint]*credential{}}
	for id, message := range entities(fingerprintTable) {
		key := message.(*configv1.FingerprintKey).GetKey()
		if len(key) < minKeyBytes {
			report(fingerprintTable, id, "", "fingerprint key is too short")
			continue
		}
		s.fingerprinters = append(s.fingerprinters, verifier.NewFingerprinter(secret.Take(append([]byte(nil), key...))).For(credentialTable, keyField))
	}
	for id, message := range entities(credentialTable) {
		entity := message.(*configv1.KeyauthCredential)
		c := &credential{id: id, consumer: consumers.ByID(entity.GetConsumer().GetId()), expiresAt: entity.GetExpiresAt()}
		if c.consumer == nil {
			report(credentialTable, id, "", "its consumer does not exist")
			continue
		}
		for _, text := range entity.GetFingerprints() {
			sum, err := hex.DecodeString(text)
			if err != nil || len(sum) != len(fingerprint{}) {
				report(credentialTable, id, "", "a fingerprint is not 64 hex digits")
				continue
			}
			s.credentials[fingerprint(sum)] = c
		}
	}
	return s
}

// lookup returns the credential of a key, or nil. It costs one HMAC for each key of the environment.
func (s *Store) lookup(key string) *credential {
	if s == nil {
		return nil
	}
	for _, f := range s.fingerprinters {
		if c := s.credentials[f.Sum(key)]; c != nil {
			return c
		}
	}
	return nil
}
