package encryption

import (
	"context"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Enabled reports whether anything can be sealed at all.
func (c *Cipher) Enabled() bool { return c.chains.Load().all().sealing() }

// Seals reports whether values of a table are written encrypted.
func (c *Cipher) Seals(table string) bool { return c.chains.Load().Of(table).seals() }

// Migrating reports whether plaintext may be left that is to be sealed.
func (c *Cipher) Migrating() bool { return c.plaintext.Load() && !c.chains.Load().all().clearing() }

// Decrypting reports whether all secrets are written in clear beside sealed ones.
func (c *Cipher) Decrypting() bool {
	chains := c.chains.Load().all()
	return chains.sealing() && chains.clear()
}

// EndMigration notes that no plaintext is left that was to be sealed. The caller has seen that.
func (c *Cipher) EndMigration(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if !found || !c.Enabled() || c.chains.Load().all().clearing() {
			return record, nil, fault.Newf(fault.Invalid, "encryption.EndMigration", "", "there is no migration")
		}
		record.Migrating = false
		return record, c.index.Load(), nil
	})
}

// EndDecryption leaves the index key in clear, so that what sealed can be taken away. The caller has seen that
// nothing sealed is left.
func (c *Cipher) EndDecryption(ctx context.Context) error {
	return c.changeIndex(ctx, func(record indexRecord, found bool) (indexRecord, *index, error) {
		if !c.Decrypting() {
			return record, nil, fault.Newf(fault.Invalid, "encryption.EndDecryption", "", "not everything is written in clear")
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
	if !c.Enabled() {
		return nil
	}
	return c.syncIndex(ctx, nil)
}

// OpensWithoutKeyring reports whether the index key of a database is to be had without the keyring: in clear, as where
// nothing ever sealed or everything was decrypted, or under another provider.
func OpensWithoutKeyring(ctx context.Context, store Store) (bool, error) {
	text, found, err := store.Meta(ctx, metaIndex)
	if err != nil || !found {
		return false, err
	}
	index, err := parseIndex(text)
	other := func(mark string) bool { return record.PrefixOf(mark) != record.KeyringPrefix }
	return index.Clear != "" || slices.ContainsFunc(slices.Collect(maps.Keys(index.Sealed)), other), err
}
