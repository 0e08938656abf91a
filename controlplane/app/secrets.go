package app

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
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
	"github.com/keepgate/keepgate/shared/mtls/proof"
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
		Cleared: func(ctx context.Context) (bool, error) { return encryption.OpensWithoutKeyring(ctx, p.store) },
	}
	if agreement.Strategy == "" {
		agreement.Strategy = keyring.Off
	}
	return keyring.Agree(ctx, p.store, agreement)
}

// secrets opens the keyring and the cipher over it. The ring stays nil when the keyring is off.
func (p *plane) secrets(ctx context.Context) (*encryption.Cipher, error) {
	s := p.settings
	keeper, err := keeperOf(s, p.log, p.providers.observe(keyringProvider))
	if err != nil {
		return nil, err
	}
	if keeper == nil {
		p.providers.warnOfClear()
		return p.providers.start(ctx)
	}
	var proves keyring.Prover // the local keeper is one itself
	if provenByPeers(keeper.Strategy()) {
		proves = prover{p.peers.identity.source, proof.Ever}
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
	return p.providers.start(ctx)
}

// ringPatience is how long a started node holds back what it would have to publish without keys that another node,
// Vault or a KMS plugin is about to give it.
const ringPatience = 3 * time.Second

// publishing runs the publisher. A node that joins others reads the configuration when it has the keys for it, so that
// data planes are not told for a moment that most of it does not open.
func (p *plane) publishing(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, ringPatience)
	defer cancel()
	p.providers.await(waiting)
	if p.ring != nil && (p.peers.peer != nil || p.vault != nil || p.kms != nil) {
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
	if p.ring == nil && p.providers.current() == nil {
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
		Agreed: p.writersAgreed, Done: p.providers.tally.changed,
	})
}

// writersAgreed refuses to begin beside a node that goes on writing otherwise than this one, and perhaps does not read what
// this one writes.
func (p *plane) writersAgreed(ctx context.Context, to string) error {
	live, err := p.peers.members.Live(ctx)
	if err != nil {
		return err
	}
	mine := p.peers.chains.Load()
	for _, m := range live {
		for _, table := range slices.Sorted(maps.Keys(m.Writes)) {
			if m.Node == p.id || m.Writes[table] == mine.Writes[table] {
				continue
			}
			if p.providers.current() != nil {
				return fault.Newf(fault.Conflict, "app.Reencrypt", settingProviders, "control plane node %s on %s writes %s otherwise (%s; this node %s): "+
					"give every node the same file, and wait until each has taken it", m.Name, m.Hostname, table, shownPrefix(m.Writes[table]), shownPrefix(mine.Writes[table]))
			}
			setting := map[bool]string{true: "on", false: "off"}[to == reencrypt.ToPlaintext]
			return fault.Newf(fault.Conflict, "app.Reencrypt", "keyring_decrypt_all", "control plane node %s on %s has another setting: "+
				"set keyring_decrypt_all = %s on every node, and start them again", m.Name, m.Hostname, setting)
		}
	}
	return nil
}

// rereading looks again at what could not be opened whenever the ring has changed.
func (p *plane) rereading(ctx context.Context, ring *keyring.Ring) error {
	for {
		changed := ring.Changed()
		if _, _, err := ring.Active(); err == nil {
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

// keeperOf returns the strategy that the settings name, nil when the keyring is off. observe hears of the calls of a KMS
// plugin; nil: nobody does.
func keeperOf(s cpsettings.ControlPlane, log *slog.Logger, observe func(method, code string, took time.Duration)) (keyring.Keeper, error) {
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
		return kmsKeeper(s, log, observe)
	case strategy != "cluster":
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_strategy", "%s is not available", strategy)
	}
	recovery, err := cluster.LoadRecoveryKey(s.Keyring.RecoveryPublicKey)
	if err != nil {
		return nil, err
	}
	return cluster.New(recovery), nil
}
