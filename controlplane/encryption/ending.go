package encryption

import (
	"context"

	"github.com/keepgate/keepgate/shared/fault"
)

// EndMigration stops reading plaintext. The caller has seen that none is left.
func (c *Cipher) EndMigration(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if !found || c.keys == nil || c.options.Decrypt {
			return record, nil, fault.Newf(fault.Invalid, "encryption.EndMigration", "", "there is no migration")
		}
		record.Migrating = false
		return record, c.index.Load(), nil
	})
}

// EndDecryption leaves the index key in clear, so that the keyring can be turned off. The caller has seen that
// nothing sealed is left.
func (c *Cipher) EndDecryption(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if !c.Decrypting() {
			return record, nil, fault.Newf(fault.Invalid, "encryption.EndDecryption", "", "keyring_decrypt_all is off")
		}
		key, err := c.openIndex(record, found)
		if err != nil {
			return record, nil, err
		}
		return clearRecord(key), newIndex(key), nil
	})
}

// Refresh reads what another node may have ended: a migration or a decryption.
func (c *Cipher) Refresh(ctx context.Context) error {
	if c.keys == nil {
		return nil
	}
	return c.syncIndex(ctx)
}

// InClear reports whether the index key of a database rests in clear, as it does where the keyring was never
// on, or was made ready to be turned off.
func InClear(ctx context.Context, store Store) (bool, error) {
	text, found, err := store.Meta(ctx, metaIndex)
	if err != nil || !found {
		return false, err
	}
	record, err := parseIndex(text)
	return record.Clear != "", err
}
