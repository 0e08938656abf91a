package app

import (
	"context"
	"log/slog"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// disposable are tables whose sealed values the product makes anew by itself.
const disposable = "environments"

// secrets opens the keyring and the cipher over it. The ring is nil when the keyring is off.
func secrets(ctx context.Context, s cpsettings.ControlPlane, store record.Store, log *slog.Logger) (*keyring.Ring, *encryption.Cipher, error) {
	keeper, err := keeperOf(s)
	if err != nil {
		return nil, nil, err
	}
	agreement := keyring.Agreement{
		Strategy:       keyring.Off,
		AllowMigration: s.Keyring.MigratePlaintext,
		Sealed: func(ctx context.Context) (int, error) {
			return keyring.CountSealed(ctx, store, "", disposable)
		},
	}
	if keeper != nil {
		agreement.Strategy = keeper.Strategy()
	}
	if err := keyring.Agree(ctx, store, agreement); err != nil {
		return nil, nil, err
	}
	if keeper == nil {
		log.Warn("keyring_enabled is off: secrets rest in the database in clear; set keyring_enabled = on")
		cipher, err := encryption.NewIdentity(ctx, store)
		return nil, cipher, err
	}
	ring, err := keyring.Open(ctx, store, keeper, keyring.Options{
		Log: log,
		References: func(ctx context.Context, keyID string) (int, error) {
			return keyring.CountSealed(ctx, store, keyID, disposable)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	cipher, err := encryption.New(ctx, store, ring, encryption.Options{Migrate: s.Keyring.MigratePlaintext, Decrypt: s.Keyring.DecryptAll})
	return ring, cipher, err
}

// keeperOf returns the strategy that the settings name, nil when the keyring is off.
func keeperOf(s cpsettings.ControlPlane) (keyring.Keeper, error) {
	strategy := s.Keyring.Strategy
	if strategy == "" {
		strategy = map[string]string{"sqlite": "local", "postgres": "cluster"}[s.Database.Engine]
	}
	switch {
	case !s.Keyring.Enabled:
		return nil, nil
	case strategy == "local" && s.Keyring.RecoveryPublicKey != "":
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_recovery_public_key", "keyring_strategy = local keeps no copy of the keys for a "+
			"recovery key: take it out and keep a copy of keyring_local_key_file, or set keyring_strategy = cluster")
	case strategy == "local":
		return local.New(s.Keyring.LocalKeyFile), nil
	}
	recovery, err := cluster.LoadRecoveryKey(s.Keyring.RecoveryPublicKey)
	if err != nil {
		return nil, err
	}
	return cluster.New(recovery), nil
}
