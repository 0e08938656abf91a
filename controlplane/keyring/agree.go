package keyring

import (
	"context"
	"fmt"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	metaStrategy = "keyring_strategy" // strategy of this database, or "off"

	// Off is what the database records when the keyring is not enabled.
	Off = "off"

	agreeAttempts = 16
)

// Agreement is what a start asks of the database about its keyring.
type Agreement struct {
	Strategy string // name of the keeper, or [Off]
	// Sealed counts the rows that hold a sealed value under any key.
	Sealed func(ctx context.Context) (int, error)
	// Cleared reports whether what the cipher keeps for itself (its index key) rests in clear, as after
	// everything was decrypted. Default: it does not.
	Cleared func(ctx context.Context) (bool, error)
	// AllowMigration lets a database that was used without a keyring get one: its plaintext values stay
	// readable until each has been written again.
	AllowMigration bool
}

// Values is where the agreement rests: named values with compare-and-set, and the keyring.
type Values interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
	Keyring(ctx context.Context, ring string) (record.Keyring, error)
}

// Agree records how the database's secrets are kept, or refuses a start whose settings differ from what
// was recorded, with fault.Denied and what to do. It comes before [Open] and controlplane/encryption.
func Agree(ctx context.Context, store Values, a Agreement) (err error) {
	for range agreeAttempts { // nodes that start at the same instant record it at the same instant
		if err = a.record(ctx, store); fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return err
}

func (a Agreement) record(ctx context.Context, store Values) error {
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
		if err := a.decrypted(ctx, store); err != nil {
			return err
		}
	}
	if err := store.SwapMeta(ctx, metaStrategy, old, a.Strategy); err != nil {
		return fmt.Errorf("recording the keyring's strategy: %w", err)
	}
	return nil
}

func (a Agreement) mayChange(ctx context.Context, store Values, recorded string) error {
	switch {
	case a.Strategy == Off:
		return a.decrypted(ctx, store)
	case recorded == Off && a.AllowMigration:
		return nil
	case recorded == Off:
		return refuse("the database was used without a keyring, so its secrets are plaintext: set keyring_enabled = off, " +
			"or declare that they are to be encrypted from now on with keyring_migrate_plaintext = on, or begin with an empty database")
	}
	kr, err := store.Keyring(ctx, "")
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	if len(kr.Keys) > 0 {
		return refuse("the database keeps its keys by keyring_strategy = %s, this node is set to %s: set keyring_strategy = %[1]s "+
			"on every node, or begin with an empty database", recorded, a.Strategy)
	}
	return nil
}

// decrypted: a database that has keys stays encrypted, also while no row is sealed under them, since its
// index key is; until everything was decrypted on purpose.
func (a Agreement) decrypted(ctx context.Context, store Values) error {
	kr, err := store.Keyring(ctx, "")
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	sealed, err := a.Sealed(ctx)
	if err != nil {
		return fmt.Errorf("counting sealed rows: %w", err)
	}
	cleared := len(kr.Keys) == 0
	if !cleared && a.Cleared != nil {
		if cleared, err = a.Cleared(ctx); err != nil {
			return fmt.Errorf("reading the index key: %w", err)
		}
	}
	if sealed == 0 && cleared {
		return nil
	}
	return refuse("the database is encrypted (keys: %d, rows with sealed values: %d): set keyring_enabled = on. To end its encryption, "+
		"set keyring_decrypt_all = on as well on every node, run keepgate-cp keyring reencrypt --to plaintext, and then set keyring_enabled = off", len(kr.Keys), sealed)
}

func refuse(format string, args ...any) error {
	return fault.Newf(fault.Denied, "keyring.Agree", "keyring", format, args...)
}
