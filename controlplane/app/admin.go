package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/keepgate/keepgate/controlplane/admin"
	adminkeks "github.com/keepgate/keepgate/controlplane/admin/keks"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/admin/metrics"
	"github.com/keepgate/keepgate/controlplane/admin/nodes"
	"github.com/keepgate/keepgate/controlplane/admin/proxycache"
	"github.com/keepgate/keepgate/controlplane/admin/reencryption"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/telemetry"
	"github.com/keepgate/keepgate/shared/version"
)

// admin opens the Admin API's sockets and returns what serves them.
func (p *plane) admin(ctx context.Context) (lifecycle.Part, error) {
	s := p.settings.Admin
	api, err := p.adminAPI(ctx)
	if err != nil {
		return lifecycle.Part{}, err
	}
	p.api.Store(api)
	if p.adminCert, err = adminCertificate(p.settings, p.log); err != nil {
		return lifecycle.Part{}, err
	}
	if p.adminClients, err = newAdminClients(s); err != nil {
		return lifecycle.Part{}, err
	}
	var endpoints []admin.Endpoint
	for _, at := range s.Listen {
		socket, err := listen("admin_listen", at.Address)
		if err != nil {
			return lifecycle.Part{}, err
		}
		endpoint := admin.Endpoint{Listener: socket, HTTP2: at.HTTP2}
		if at.TLS {
			endpoint.TLS = p.adminClients.Config(p.adminCert.Config())
		}
		endpoints = append(endpoints, endpoint)
	}
	return lifecycle.Part{Name: "Admin API", Run: func(ctx context.Context) error { return api.Serve(ctx, endpoints...) }}, nil
}

func (p *plane) adminAPI(ctx context.Context) (*admin.Server, error) {
	s := p.settings
	token, notice, err := admin.LoadToken(s.Admin.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("admin_token_file: %w", err)
	}
	if notice != "" {
		p.log.Warn(notice)
	}
	deps := admin.Deps{
		Catalog: p.catalog, Fleet: p.fleet, Level: logLevel{p.level},
		Wake: func() { p.peers.committed(); p.licenses.Wake() }, Journal: p.peers.journal, Token: token, Log: p.log, Rooms: p.rooms(), License: p.licenses,
	}
	if p.ring != nil {
		deps.Keyring = p.ring
	}
	if database, ok := p.store.(interface{ Warnings() []string }); ok {
		deps.DatabaseWarnings = database.Warnings
	}
	if deps.Access, err = p.access(ctx, token); err != nil {
		return nil, err
	}
	return admin.New(deps, admin.Options{
		Version: version.Text, NodeID: p.id, Hostname: p.hostname, Configuration: p.configuration(), HeaderNames: s.Admin.HeaderNames,
		AllowedHosts: s.Admin.AllowedHosts, AllowedOrigins: s.Admin.AllowedOrigins,
	})
}

// rooms are the parts of the Admin API beside entities and the node's own affairs.
func (p *plane) rooms() []admin.Room {
	k := keys.Deps{
		Courier: p.courier, Journal: p.peers.journal, Memory: memguard.Look(), Reveal: p.settings.Keyring.RevealGenerated,
		Wake: p.peers.committed, Log: p.log,
		Usage: func(ctx context.Context) ([]record.SealedCount, error) { return p.store.CountSealed(ctx) },
	}
	if p.ring != nil {
		k.Ring = p.ring
	}
	if p.vault != nil {
		k.Vault = p.vault
		k.VaultStatus = func() any { return p.vault.Status() }
	}
	if p.kms != nil {
		k.KMSStatus = func() any { return p.kms.Health() }
	}
	k.Rewrapper = p.rewrapper
	n := nodes.Deps{Self: p.id, Members: p.peers.members}
	if p.peers.peer != nil {
		n.Heard, n.Bus = p.peers.peer.Status, p.peers.bus.Status
	}
	var job reencryption.Job
	if p.reencrypt != nil {
		job = p.reencrypt
	}
	return []admin.Room{keys.New(k), nodes.New(n), p.fleetRoom(), p.environmentRoom(), p.trustRoom(), p.enrolmentRoom(), reencryption.New(job, p.catalog.Workspace), adminkeks.New(p.keks), proxycache.New(p.catalog, p.peers.committed), p.providers.room(), metrics.New(health.Metrics(node{p}, version.Text))}
}

// configuration is the effective settings as GET / shows them: secrets are hidden already.
func (p *plane) configuration() map[string]any {
	shown := map[string]any{}
	for _, setting := range p.effective.Settings {
		shown[setting.Key] = setting.Value
	}
	return shown
}

// acceptRestore tells data planes that the database's history began anew.
func (p *plane) acceptRestore(ctx context.Context) (raised uint64, err error) {
	raised, err = epoch.Raise(ctx, p.store)
	if err == nil {
		p.publisher.Reload()
		p.peers.hint(topicHistory)
	}
	return raised, err
}

// logLevel is the log's level by Kong's names.
type logLevel struct{ *slog.LevelVar }

func (l logLevel) Name() string { return telemetry.LevelName(l.Level()) }

func (l logLevel) Set(name string) error {
	level, err := telemetry.ParseLevel(name)
	if err == nil {
		l.LevelVar.Set(level)
	}
	return err
}
