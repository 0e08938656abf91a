// Package app builds a data plane of its parts, by hand and in order, and runs them.
//
// Nothing else sees all of the plane. The order is that of need: who the node is, what it holds on its disk, what
// serves it; and only then the link to the control plane, which nothing waits for.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/lease"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/secrets"
	"github.com/keepgate/keepgate/dataplane/status"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/uplink"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/nodeid"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/telemetry"
	"github.com/keepgate/keepgate/shared/version"
)

// plane is the data plane once everything is opened.
type plane struct {
	settings dpsettings.DataPlane
	own      secrets.Own
	log      *slog.Logger
	nodeID   string
	keys     *scoped // nil on a node that was shut out
	store    *localstore.Store
	cache    *cachestore.Cache // what proxy-cache keeps; nil before build
	names    *dns.Names
	secrets  *secrets.Secrets // what references lead to; nil before build
	pools    *upstream.Pools
	tables   *table.Holder
	entities *schema.Schema
	kinds    []plugin.Kind
	metrics  *status.Metrics
	applier  *apply.Applier
	uplink   *uplink.Uplink // nil on a node that was shut out

	lease       *lease.Lease // nil where secrets are used for ever
	locked      atomic.Bool  // it has ended
	withholding *withholding
	belonging   belonging
	disk        enrol.FS // another one in tests alone
}

// Run runs the data plane until ctx ends.
func Run(ctx context.Context, instance *process.Instance, s dpsettings.DataPlane, loaded *settings.Loaded) error {
	level, err := telemetry.ParseLevel(s.Process.LogLevel)
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(os.Stderr, telemetry.Options{Level: level, JSON: s.Process.LogFormat == "json"})
	loaded.Log(log)
	memguard.Look().Log(log)
	p := &plane{settings: s, own: ownOf(s, loaded), log: log, tables: table.NewHolder(), disk: enrol.Disk{}}
	if err := p.open(); err != nil {
		return err
	}
	err = p.run(ctx, instance)
	if p.store != nil {
		if closeErr := p.store.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("closing the local store: %w", closeErr)
		}
	}
	if closeErr := p.cache.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("closing the cache: %w", closeErr)
	}
	if err == nil {
		p.notice("stopped")
	}
	return err
}

// notice says what an operator wants to know at the default level: the few turns in this node's life.
func (p *plane) notice(message string, args ...any) {
	p.log.Log(context.Background(), telemetry.LevelNotice, message, args...)
}

// open makes the parts and serves from the local store what it holds.
func (p *plane) open() (err error) {
	if err := p.belong(); err != nil {
		return err
	}
	if p.nodeID, err = nodeid.Load(filepath.Join(p.settings.Process.Prefix, "node.id")); err != nil {
		return err
	}
	if p.belonging.wiped != nil {
		if err := p.build(); err != nil {
			return err
		}
		p.endBefore()
		return nil
	}
	return p.serveHeld()
}

// serveHeld opens the local store and serves what it holds.
func (p *plane) serveHeld() error {
	var others []string
	var err error
	if p.belonging.joined {
		if others, err = p.belonging.folder.OtherKeys(); err != nil {
			return err
		}
	}
	if p.keys, err = openKeys(p.settings, p.belonging.source, others, p.log); err != nil {
		return err
	}
	var held apply.Opened
	var found localstore.State
	if p.store, found, err = openStore(p.settings, p.belonging.source, p.keys, localstore.Options{Verify: held.Verify, Log: p.log, FS: p.disk}); err != nil {
		return err
	}
	adviseOnKeys(p.store.Report(), p.log)
	if err := p.build(); err != nil {
		p.store.Close()
		return err
	}
	if report := p.store.Report(); report.Status != localstore.Fresh && report.Status != localstore.Unopenable {
		p.applier.Start(apply.State{Epoch: found.Epoch, Version: found.Version, Set: held.Set})
		p.notice("serving from the local store", "version", found.Version, "epoch", found.Epoch, "entities", held.Set.Len(),
			"store", report.Status.String(), "sealed", string(report.Mode), "quarantined", len(p.applier.Quarantined()))
	}
	p.tidy()
	return nil
}

func (p *plane) build() error {
	s := p.settings
	p.metrics = status.NewMetrics(p.nodeID, version.Text)
	if err := p.balance(); err != nil {
		return err
	}
	roots, err := s.Upstream.Roots()
	if err != nil {
		return err
	}
	p.pools = upstream.NewPools(new(wire.Blocks), client.Options{
		MaxIdle: orNone(s.Upstream.KeepalivePoolSize), MaxRequests: orNone(s.Upstream.KeepaliveMaxRequests),
		IdleTimeout: s.Upstream.KeepaliveIdleTimeout,
	})
	if err := p.identify(); err != nil {
		return err
	}
	p.entities = schema.New(plugins.All())
	if err := p.openCache(); err != nil {
		return err
	}
	p.kinds = all.Kinds(all.Options{Prefix: s.Process.Prefix, Log: p.log, Roots: roots, Health: p.targets, Cache: p.cache, MaxEntry: int64(s.Cache.MaxEntry)})
	if err := p.measure(); err != nil {
		return err
	}
	if err := p.refer(roots); err != nil {
		return err
	}
	compiler := compile.New(p.kinds, p.balancing(), p.pools, compile.Options{
		Vaults: p.secrets, Schema: p.entities, Roots: roots, Depth: s.Upstream.VerifyDepth, HTTP2: s.Upstream.HTTP2,
	})
	p.withholding = newWithholding(p.entities, p.kinds)
	keeper := apply.NewStoreKeeper(p.store, p.entities, p.belonging.environment(), p.log)
	p.applier = apply.New(&tableCompiler{compiler: compiler, tables: p.tables, pools: p.pools, withheld: p.withheld, log: p.log}, keeper)
	if p.belonging.member == nil {
		return nil
	}
	if err := p.limit(); err != nil {
		return err
	}
	return p.link()
}

// run serves until ctx ends. The listeners drain before what they need stops.
func (p *plane) run(ctx context.Context, instance *process.Instance) error {
	front, err := p.front(instance)
	if err != nil {
		return err
	}
	parts := []lifecycle.Part{
		{Name: "names", Run: p.names.Run},
		{Name: "health checks", Run: healthcheck.New(checked{p.tables}, p.log).Run},
		{Name: "upstream connections", Run: p.pools.Run},
	}
	parts = append(parts, p.linked()...)
	parts = append(parts, p.keyed()...)
	parts = append(parts, p.leased()...)
	parts = append(parts, p.referred()...)
	parts = append(parts, lifecycle.Part{Name: "proxy", Run: front.Run})
	return p.besidePlugins(ctx, func(ctx context.Context) error { return lifecycle.Run(ctx, parts...) })
}

// besidePlugins lets the plugins do their own work until serve has returned: the last requests are logged too.
func (p *plane) besidePlugins(ctx context.Context, serve func(context.Context) error) error {
	var parts []lifecycle.Part
	for _, kind := range p.kinds {
		if runner, ok := kind.(plugin.Runner); ok {
			parts = append(parts, lifecycle.Part{Name: "plugin " + kind.Name(), Run: runner.Run})
		}
	}
	if len(parts) == 0 {
		return serve(ctx)
	}
	ctx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	aside, stopPlugins := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		defer stopServing() // a plugin that has ended by itself
		ended <- lifecycle.Run(aside, parts...)
	}()
	err := serve(ctx)
	stopPlugins()
	return errors.Join(err, <-ended)
}
