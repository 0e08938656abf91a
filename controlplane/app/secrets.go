package app

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

const tableLicenses = "licenses"

// disposable are tables whose sealed values the product makes anew by itself.
const disposable = "environments"

// agree holds the settings against what the database records of its keyring. It comes before this node shows itself
// to others.
func (p *plane) agree(ctx context.Context) error {
	agreement := keyring.Agreement{
		Strategy:       strategyOf(p.settings),
		AllowMigration: p.settings.Keyring.MigratePlaintext,
		Sealed: func(ctx context.Context) (int, error) {
			counts, err := keyring.CountSealed(ctx, p.store, "", disposable)
			return keyring.Total(counts), err
		},
		Cleared: func(ctx context.Context) (bool, error) { return encryption.InClear(ctx, p.store) },
	}
	if agreement.Strategy == "" {
		agreement.Strategy = keyring.Off
	}
	return keyring.Agree(ctx, p.store, agreement)
}

// secrets opens the keyring and the cipher over it. The ring stays nil when the keyring is off.
func (p *plane) secrets(ctx context.Context) (*encryption.Cipher, error) {
	s := p.settings
	keeper, err := keeperOf(s, p.log)
	if err != nil {
		return nil, err
	}
	if keeper == nil {
		p.log.Warn("keyring_enabled is off: secrets rest in the database in clear; set keyring_enabled = on")
		return encryption.New(ctx, p.store, encryption.FromSettings(nil, encryption.Options{}))
	}
	var proves keyring.Prover // the local keeper is one itself
	if provenByPeers(keeper.Strategy()) {
		proves = prover{p.peers.identity.source, mtls.Ever}
	}
	var sealing func() error
	if k, ok := keeper.(*kms.Keeper); ok {
		sealing = k.Sealing
	}
	p.ring, err = keyring.Open(ctx, p.store, keeper, proves, keyring.Options{
		Sealing: sealing, Log: p.log, Cluster: p.peers.cluster, Node: p.id, Journal: p.peers.journal, Members: p.peers, Announce: p.peers.announce,
		Poll: s.Database.UpdateFrequency,
		References: func(ctx context.Context, keyID string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, p.store, keyID, disposable)
		},
	})
	if err != nil {
		return nil, err
	}
	switch keeper := keeper.(type) {
	case *vault.Keeper:
		p.vault = vault.NewSync(keeper, p.ring, p.log)
	case *kms.Keeper:
		p.kms = keeper
	}
	return encryption.New(ctx, p.store, encryption.FromSettings(p.ring, encryption.Options{
		Migrate: s.Keyring.MigratePlaintext, Decrypt: s.Keyring.DecryptAll, Clear: map[string]bool{tableLicenses: !s.Keyring.EncryptLicense},
	}))
}

// ringPatience is how long a started node holds back what it would have to publish without keys that another node,
// Vault or a KMS plugin is about to give it.
const ringPatience = 3 * time.Second

// publishing runs the publisher. A node that joins others reads the configuration when it has the keys for it, so that
// data planes are not told for a moment that most of it does not open.
func (p *plane) publishing(ctx context.Context) error {
	if p.ring != nil && (p.peers.peer != nil || p.vault != nil || p.kms != nil) {
		waiting, cancel := context.WithTimeout(ctx, ringPatience)
		defer cancel()
		for changed := p.ring.Changed(); waiting.Err() == nil && len(p.ring.Lacking()) > 0; changed = p.ring.Changed() {
			select {
			case <-waiting.Done():
			case <-changed:
			}
		}
	}
	return p.publisher.Run(ctx)
}

// reencryption makes this node's part in re-encrypting the database.
func (p *plane) reencryption(cipher *encryption.Cipher) {
	if p.ring == nil {
		return
	}
	p.reencrypt = reencrypt.New(p.store, p.catalog, cipher, p.id, reencrypt.Options{
		Log: p.log, Journal: p.peers.journal, Live: func(ctx context.Context) (ids []string, err error) {
			live, err := p.peers.members.Live(ctx)
			for _, m := range live {
				ids = append(ids, m.Node)
			}
			return ids, err
		},
		Idle: func() time.Duration {
			if api := p.api.Load(); api != nil {
				return api.Idle()
			}
			return math.MaxInt64 // it does not serve yet
		},
		Agreed: p.decryptionAgreed,
	})
}

// decryptionAgreed refuses to decrypt beside a node that would not read what is in clear, and to encrypt beside one
// that goes on writing in clear.
func (p *plane) decryptionAgreed(ctx context.Context, to string) error {
	live, err := p.peers.members.Live(ctx)
	if err != nil {
		return err
	}
	decrypts := to == reencrypt.ToPlaintext
	for _, m := range live {
		if m.Node != p.id && m.Decrypts != decrypts {
			setting := map[bool]string{true: "on", false: "off"}[decrypts]
			return fault.Newf(fault.Conflict, "app.Reencrypt", "keyring_decrypt_all", "control plane node %s on %s has another setting: "+
				"set keyring_decrypt_all = %s on every node, and start them again", m.Name, m.Hostname, setting)
		}
	}
	return nil
}

// rereading looks again at what could not be opened whenever the ring has changed.
func (p *plane) rereading(ctx context.Context) error {
	for {
		changed := p.ring.Changed()
		if _, _, err := p.ring.Active(); err == nil {
			if err := p.catalog.Start(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("what every database has was not completed", "error", err)
			}
			p.feed.Wake()
			p.licenses.Wake()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// strategyOf is the name of the keyring's strategy, "" when it is off.
func strategyOf(s cpsettings.ControlPlane) string {
	switch {
	case !s.Keyring.Enabled:
		return ""
	case s.Keyring.Strategy != "":
		return s.Keyring.Strategy
	case s.Database.Engine == "sqlite":
		return "local"
	}
	return "cluster"
}

// provenByPeers: changes of the ring are proven by this node's certificate. The local keeper proves them by its key file.
func provenByPeers(strategy string) bool { return strategy != "" && strategy != "local" }

// keeperOf returns the strategy that the settings name, nil when the keyring is off.
func keeperOf(s cpsettings.ControlPlane, log *slog.Logger) (keyring.Keeper, error) {
	switch strategy := strategyOf(s); {
	case strategy == "":
		return nil, nil
	case strategy == "local" && s.Keyring.RecoveryPublicKey != "":
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_recovery_public_key", "keyring_strategy = local keeps no copy of the keys for a "+
			"recovery key: take it out and keep a copy of keyring_local_key_file, or set keyring_strategy = cluster")
	case strategy == "local":
		return local.New(s.Keyring.LocalKeyFile), nil
	case strategy == vault.Strategy:
		return vaultKeeper(s)
	case strategy == kms.Strategy:
		return kmsKeeper(s, log)
	case strategy != "cluster":
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_strategy", "%s is not available", strategy)
	}
	recovery, err := cluster.LoadRecoveryKey(s.Keyring.RecoveryPublicKey)
	if err != nil {
		return nil, err
	}
	return cluster.New(recovery), nil
}
