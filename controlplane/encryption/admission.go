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
