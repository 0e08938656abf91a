// Package app builds the control plane of its parts, by hand and in order, and runs them.
//
// Nothing else sees all of the plane. The order is that of need: database, keyring, cipher, catalog; what
// follows its history; what serves it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/controlplane/license"
	"github.com/keepgate/keepgate/controlplane/publish"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/nodeid"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/servercert"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/telemetry"
)

// plane is the control plane once everything is opened.
type plane struct {
	settings     cpsettings.ControlPlane
	effective    *settings.Loaded
	log          *slog.Logger
	level        *slog.LevelVar
	store        record.Store
	id           string // of this node
	hostname     string
	peers        *peers
	courier      courier
	blobRead     bool                         // what keyring_blob_path held when this node started is known
	reencrypt    *reencrypt.Job               // nil when the keyring is off
	api          atomic.Pointer[admin.Server] // nil before it serves
	licenses     *license.Licenses
	adminCert    *servercert.Holder // nil without a TLS listener
	adminClients *adminClients
	ring         *keyring.Ring // nil when the keyring is off
	vault        *vault.Sync   // nil with another strategy
	kms          *kms.Keeper   // nil with another strategy
	providers    *providers    // what seals the tables
	catalog      *catalog.Catalog
	feed         *changefeed.Feed
	publisher    *publish.Publisher
	fleet        *fleet.Fleet
	links        *links // nil without a cluster certificate
	joining      *health.Probe
	authorities  *authority.Authorities // as links, and nil under cluster_mtls = shared
	registry     *nodes.Registry        // who may link
	enrolments   *enrol.Service         // who may join
	keks         *keks.Keks
}

// Run runs the control plane until ctx ends.
func Run(ctx context.Context, instance *process.Instance, s cpsettings.ControlPlane, loaded *settings.Loaded) error {
	p, err := open(ctx, s, loaded)
	if err != nil {
		return err
	}
	err = p.run(ctx, instance)
	p.leave(ctx)
	if closeErr := p.store.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing the database: %w", closeErr)
	}
	return err
}

func open(ctx context.Context, s cpsettings.ControlPlane, loaded *settings.Loaded) (*plane, error) {
	level := &slog.LevelVar{}
	parsed, err := telemetry.ParseLevel(s.Process.LogLevel)
	if err != nil {
		return nil, err
	}
	level.Set(parsed)
	log := telemetry.NewLogger(os.Stderr, telemetry.Options{Level: level, JSON: s.Process.LogFormat == "json"})
	loaded.Log(log)
	memguard.Look().Log(log)
	if err := Check(s); err != nil {
		return nil, err
	}
	store, err := openStore(ctx, s, false, log)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	p := &plane{settings: s, effective: loaded, log: log, level: level, store: store}
	if err := p.build(ctx); err != nil {
		p.leave(ctx)
		return nil, errors.Join(err, store.Close())
	}
	return p, nil
}

// build makes the parts over an open database.
func (p *plane) build(ctx context.Context) error {
	if err := migrated(ctx, p.store, p.settings.Database.Engine, p.log); err != nil {
		return err
	}
	if err := p.identify(); err != nil {
		return err
	}
	var err error
	if p.courier, err = newCourier(p.settings.Keyring); err != nil {
		return err
	}
	p.courier.warn(p.log)
	entities := schema.New(plugins.All())
	if err := p.readProviders(entities); err != nil {
		return err
	}
	if err := p.agree(ctx); err != nil {
		return err
	}
	if err := p.join(ctx); err != nil {
		return err
	}
	cipher, err := p.secrets(ctx)
	if err != nil {
		return err
	}
	p.catalog = catalog.New(p.store, entities, counting{cipher, p.providers.operations()}, catalog.Options{Log: p.log, OneEnvironment: oneEnvironment(p.settings.Cluster)})
	if err := p.loadBlob(ctx); err != nil {
		return err
	}
	if err := p.catalog.Start(ctx); err != nil {
		return fmt.Errorf("starting the catalog: %w", err)
	}
	if err := p.checkEnvironments(ctx); err != nil {
		return err
	}
	p.feed = changefeed.New(p.store, changefeed.Options{Poll: p.settings.Database.UpdateFrequency})
	p.fleet = fleet.New(p.store, fleet.Options{PurgeDelay: p.settings.Cluster.PurgeDelay, Log: p.log})
	p.publisher = publish.New(p.store, p.feed, p.catalog, remaining{p}, entities, p.log)
	p.reencryption(cipher)
	p.licenses = license.New(p.catalog, license.Given{Data: p.settings.License.Data, Path: p.settings.License.Path}, license.Options{Log: p.log})
	p.licenses.Load(ctx)
	p.openKeks()
	return nil
}

// identify finds this node's name.
func (p *plane) identify() (err error) {
	if p.id, err = nodeid.Load(filepath.Join(p.settings.Process.Prefix, "node.id")); err != nil {
		return err
	}
	if p.hostname, err = os.Hostname(); err != nil {
		return fmt.Errorf("asking for the host name: %w", err)
	}
	return nil
}

// run serves. What needs the database ends before it is closed.
func (p *plane) run(ctx context.Context, instance *process.Instance) error {
	links, err := newLinks(ctx, p)
	if err != nil {
		return err
	}
	p.joining = health.NewProbe(p.joinable)
	parts := []lifecycle.Part{
		{Name: "publisher", Run: p.publishing},
		{Name: "fleet", Run: p.fleet.Run},
		{Name: "licenses", Run: p.licenses.Run},
		{Name: "KEKs", Run: p.keks.Run},
		{Name: "who may link", Run: p.registry.Run},
		{Name: "join tokens", Run: p.enrolments.Run},
	}
	if p.authorities != nil {
		parts = append(parts, lifecycle.Part{Name: "whom the planes believe", Run: p.authorities.Run})
	}
	parts = append(parts, p.peers.parts()...)
	parts = append(parts, p.providers.parts()...)
	if p.reencrypt != nil {
		parts = append(parts, lifecycle.Part{Name: "re-encryption", Run: p.reencrypt.Run})
	}
	if p.ring != nil {
		parts = append(parts,
			lifecycle.Part{Name: "keyring", Run: p.ring.Run},
			lifecycle.Part{Name: "rows that came back", Run: func(ctx context.Context) error { return p.rereading(ctx, p.ring) }},
		)
		if p.vault != nil {
			parts = append(parts, lifecycle.Part{Name: "Vault", Run: p.vault.Run})
		}
		if p.kms != nil {
			parts = append(parts, lifecycle.Part{Name: "KMS plugin of the keyring", Run: func(ctx context.Context) error { return p.kms.Run(ctx, p.ring) }})
		}
		if p.settings.Keyring.BlobPath != "" {
			parts = append(parts, lifecycle.Part{Name: "keyring_blob_path", Run: p.keepBlob})
		}
	}
	if links != nil {
		parts = append(parts, lifecycle.Part{Name: "data planes", Run: links.Run}, lifecycle.Part{Name: "join probe", Run: p.knocking})
	} else {
		p.log.Warn("no cluster_cert: data planes cannot connect; make certificates with: keepgate-cp certs init --with-control-plane")
	}
	serving, err := p.serving(ctx, instance, links)
	if err != nil {
		return err
	}
	return lifecycle.Run(ctx, append(parts, serving...)...)
}
