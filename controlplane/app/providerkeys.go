package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/verifier"
)

// A stored value names the key of a file that it is under, and not which key that is. So that another key under the same
// name is not taken for it, the database keeps a check value of each key that a file in force names, by mark:
//
//	{"k8s:enc:aesgcm:v1:key1":"9f86d081884c7d65"}
//
// and leases say it with each prefix.
const (
	metaProviderKeys     = "provider_keys"
	providerKeysAttempts = 8
	checkDigits          = 16
)

// keyCheck tells the key of a name from others, and nothing else of it.
func keyCheck(mark string, key providerconfig.Key) string {
	return verifier.Fingerprint(key.Secret, "keepgate provider key", mark)[:checkDigits]
}

// keyChecks are those of all keys in a file, by mark.
func keyChecks(config *providerconfig.Config) map[string]string {
	checks := map[string]string{}
	if config == nil {
		return checks
	}
	for _, entry := range config.Entries {
		for _, p := range entry.Providers {
			for _, key := range p.Keys {
				mark := strings.TrimSuffix(prefixOf(p, key.Name), ":")
				checks[mark] = keyCheck(mark, key)
			}
		}
	}
	return checks
}

// exchanged are the marks of keys that are other ones in a file than those that values may be under by these names.
func (v *providers) exchanged(ctx context.Context, config *providerconfig.Config) (map[string]bool, error) {
	known, _, err := providerKeys(ctx, v.plane.store)
	exchanged := map[string]bool{}
	for mark, check := range keyChecks(config) {
		if before, found := known[mark]; found && before != check {
			exchanged[mark] = true
		}
	}
	return exchanged, err
}

// keepChecks notes which keys a file names. It comes before any of them writes.
func (v *providers) keepChecks(ctx context.Context, config *providerconfig.Config) error {
	checks := keyChecks(config)
	for range providerKeysAttempts {
		known, old, err := providerKeys(ctx, v.plane.store)
		if err != nil {
			return err
		}
		next := maps.Clone(known)
		maps.Copy(next, checks)
		if maps.Equal(known, next) {
			return nil
		}
		text, err := json.Marshal(next)
		if err != nil {
			return fault.New(fault.Internal, "app.Run", metaProviderKeys, err)
		}
		if err = v.plane.store.SwapMeta(ctx, metaProviderKeys, old, string(text)); fault.KindOf(err) != fault.Conflict || err == nil {
			return err
		}
	}
	return fault.Newf(fault.Conflict, "app.Run", metaProviderKeys, "other nodes keep changing it")
}

func providerKeys(ctx context.Context, store record.Store) (known map[string]string, old *string, err error) {
	known = map[string]string{}
	text, found, err := store.Meta(ctx, metaProviderKeys)
	if err != nil {
		return known, nil, fmt.Errorf("reading the check values of provider keys: %w", err)
	}
	if !found {
		return known, nil, nil
	}
	if json.Unmarshal([]byte(text), &known) != nil || known == nil {
		return known, nil, fault.Newf(fault.Corrupt, "app.Run", metaProviderKeys, "the stored check values of provider keys are malformed")
	}
	return known, &text, nil
}
