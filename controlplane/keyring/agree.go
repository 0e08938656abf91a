package keyring

import (
	"context"
	"fmt"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	metaStrategy = "keyring_strategy" // strategy of this database, or "off"

	// Off is what the database records when the keyring is not enabled.
	Off = "off"
)

// Agreement is what a start asks of the database about its keyring.
type Agreement struct {
	Strategy string // name of the keeper, or [Off]
	// Sealed counts the rows that hold a sealed value under any key.
	Sealed func(ctx context.Context) (int, error)
	// AllowMigration lets a database that was used without a keyring get one: its plaintext values stay
	// readable until each has been written again.
	AllowMigration bool
}

// Agree records how the database's secrets are kept, or refuses a start whose settings differ from what
// was recorded, with fault.Denied and what to do. It comes before [Open] and controlplane/encryption.
func Agree(ctx context.Context, store Store, a Agreement) error {
	recorded, found, err := store.Meta(ctx, metaStrategy)
	if err != nil {
		return fmt.Errorf("reading the keyring's strategy: %w", err)
	}
	var old *string
	switch {
	case found && recorded == a.Strategy:
		return nil
	case found:
		old = &recorded
		if err := a.mayChange(ctx, store, recorded); err != nil {
			return err
		}
	case a.Strategy == Off:
		if err := a.neverHadKeys(ctx, store); err != nil {
			return err
		}
	}
	if err := store.SwapMeta(ctx, metaStrategy, old, a.Strategy); err != nil {
		return fmt.Errorf("recording the keyring's strategy: %w", err)
	}
	return nil
}

func (a Agreement) mayChange(ctx context.Context, store Store, recorded string) error {
	switch {
	case a.Strategy == Off:
		return a.neverHadKeys(ctx, store)
	case recorded == Off && a.AllowMigration:
		return nil
	case recorded == Off:
		return refuse("the database was used without a keyring, so its secrets are plaintext: set keyring_enabled = off, " +
			"or declare that they are to be encrypted from now on with keyring_migrate_plaintext = on, or begin with an empty database")
	}
	keys, err := store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	if len(keys) > 0 {
		return refuse("the database keeps its keys by keyring_strategy = %s, this node is set to %s: set keyring_strategy = %[1]s "+
			"on every node, or begin with an empty database", recorded, a.Strategy)
	}
	return nil
}

// neverHadKeys: a database that has keys stays encrypted, also while no row is sealed under them, since its
// index key is.
func (a Agreement) neverHadKeys(ctx context.Context, store Store) error {
	keys, err := store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	if len(keys) > 0 {
		return refuse("the database is encrypted (keys: %d): set keyring_enabled = on, or begin with an empty database", len(keys))
	}
	count, err := a.Sealed(ctx)
	if err != nil {
		return fmt.Errorf("counting sealed rows: %w", err)
	}
	if count > 0 {
		return refuse("the database holds sealed values, which this node could not read (rows: %d): set keyring_enabled = on", count)
	}
	return nil
}

func refuse(format string, args ...any) error {
	return fault.Newf(fault.Denied, "keyring.Agree", "keyring", format, args...)
}
