package encryption

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
)

// admission says whether chains may come into force over what the database holds, and whether it then surely holds no
// plaintext that is to be sealed.
type admission func(record indexRecord) (clean bool, err error)

// admits is the admission of some chains.
func (c *Cipher) admits(ctx context.Context, chains Chains) admission {
	return func(record indexRecord) (clean bool, err error) {
		if record.Clear == "" && !chains.all().sealing() {
			return false, fault.Newf(fault.Denied, "encryption.New", metaIndex, "the database is encrypted: set keyring_enabled = on, or "+
				"encryption_provider_config to a file with the providers that sealed it")
		}
		if err := chains.all().exchanged(record); err != nil {
			return false, err
		}
		known := record.Clear != "" || record.Migrating
		if !chains.all().strict() || !known && chains.Plaintexts == nil {
			return false, nil
		}
		if chains.Plaintexts == nil {
			return false, fault.Newf(fault.Denied, "encryption.New", metaIndex, "the database holds plaintext beside its keyring, of the time "+
				"before it or of a keyring_decrypt_all: set keyring_migrate_plaintext = on until a re-encryption says that none is left")
		}
		rows, err := chains.Plaintexts(ctx, func(table string) bool { return !chains.Of(table).readsPlaintext() })
		if err != nil {
			return false, err
		}
		if rows > 0 {
			return false, fault.Newf(fault.Denied, "encryption.New", metaIndex, "%d rows hold secrets in clear in tables whose providers do not read "+
				"that: put identity last in their list until a re-encryption says that no plaintext is left", rows)
		}
		return !slices.ContainsFunc(chains.all(), (*Chain).readsPlaintext), nil
	}
}

// exchanged refuses a static provider that has the name of another key: values say the name alone, so that those of the
// other one would seem to be read, and to be written already. The copy of the index key knows which key it was.
func (l chainList) exchanged(record indexRecord) error {
	providers := l.providers()
	for _, p := range providers {
		s, ok := p.(*static)
		text, found := "", false
		if ok {
			text, found = record.Sealed[s.mark]
		}
		if !found || slices.ContainsFunc(providers, func(other Provider) bool { return other.Prefix() == s.prefix && !outdated(other, text) }) {
			continue
		}
		return fault.Newf(fault.Denied, "encryption.New", s.mark, "%s has another secret here than where values were written by that name: give "+
			"the new key a name of its own, and put the other one back behind it until a re-encryption leaves no rows of it", Describe(s.mark))
	}
	return nil
}
