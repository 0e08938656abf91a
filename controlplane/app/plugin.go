package app

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/kmsv1"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls/proof"
)

// plugin is a KMS plugin of a file that is open: once for each, however often it stands there.
type plugin struct {
	name, version string
	given         providerconfig.Plugin // as the file in force has it; guarded by providers.taking

	provider encryption.Provider
	probe    func(ctx context.Context) error // asks it how it is, without flooding it
	close    func() error
	stop     func()

	v1     *kmsv1.Provider                 // nil: v2
	asked  func(ctx context.Context) error // of v1: probe without what is known of its proof; nil: v2
	cached func() (held, room int)         // keys of values; nil: v2
	anew   chan struct{}                   // its socket was connected anew; nil: v2

	keeper *kms.Keeper   // nil: v1
	way    *way          // nil: v1
	ring   *keyring.Ring // of its seeds; nil: v1
}

// open opens a plugin and runs what it needs. It calls nobody: a plugin that is dead is healed later.
func (v *providers) open(ctx context.Context, given providerconfig.Plugin) (*plugin, error) {
	options := v.clientOptions(given)
	p := &plugin{name: given.Name, version: given.Version, given: given}
	var err error
	if given.Version == "v1" {
		err = v.openV1(p, options)
	} else {
		err = v.openV2(ctx, p, options)
	}
	if err != nil {
		return nil, err
	}
	parts := []lifecycle.Part{{Name: "end", Run: func(ctx context.Context) error {
		<-ctx.Done()
		if err := p.close(); err != nil {
			v.plane.log.Debug("a KMS plugin's socket was not closed", "provider", p.name, "error", err)
		}
		return ctx.Err()
	}}}
	stop := func() {}
	if p.v1 != nil {
		parts = append(parts, lifecycle.Part{Name: "proof", Run: func(ctx context.Context) error { return v.proving(ctx, p) }})
	}
	if p.ring != nil {
		name := encryption.RingName(p.name)
		stop = func() { v.plane.peers.rings.drop(name, p.ring) }
		v.plane.peers.rings.put(name, p.ring)
		parts = append(parts, lifecycle.Part{Name: "ring", Run: p.ring.Run},
			lifecycle.Part{Name: "KMS plugin", Run: func(ctx context.Context) error { return p.keeper.Run(ctx, p.ring) }},
			lifecycle.Part{Name: "rows that came back", Run: func(ctx context.Context) error { return v.plane.rereading(ctx, p.ring) }})
	}
	end := v.group.start(lifecycle.Part{Name: "provider " + p.name, Run: func(ctx context.Context) error { return lifecycle.Run(ctx, parts...) }})
	p.stop = func() {
		stop()
		end()
	}
	return p, nil
}

func (v *providers) clientOptions(given providerconfig.Plugin) kmsclient.Options {
	return kmsclient.Options{
		Name: given.Name, Endpoint: given.Endpoint, Timeout: given.Timeout, Log: v.plane.log,
		Observe: v.observe(given.Name),
	}
}

// observe measures the calls of a plugin.
func (v *providers) observe(name string) func(method, code string, took time.Duration) {
	return func(method, code string, took time.Duration) { v.metrics.Called(name, method, code, took) }
}

// openV2 opens the ring of a provider's seeds, which its plugin keeps.
func (v *providers) openV2(ctx context.Context, p *plugin, options kmsclient.Options) error {
	client, err := kmsclient.NewV2(options)
	if err != nil {
		return err
	}
	s, name := v.plane, encryption.RingName(p.name)
	p.way = &way{}
	p.way.current.Store(client)
	p.keeper = kms.New(p.name, p.way, kms.Options{Endpoint: p.given.Endpoint, Log: s.log})
	p.ring, err = keyring.Open(ctx, s.store, p.keeper, prover{s.peers.identity.source, proof.Ever}, keyring.Options{
		Log: s.log.With("provider", p.name), Cluster: s.peers.cluster, Ring: name, Node: s.id, Journal: s.peers.journal,
		Members: ringMembers{s.peers, name}, Announce: s.peers.announce, Poll: s.settings.Database.UpdateFrequency, Sealing: p.keeper.Sealing,
		References: func(ctx context.Context, keyID string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, s.store, keyID, disposable)
		},
	})
	if err == nil {
		p.provider, err = encryption.KMS(p.name, p.ring)
	}
	if err != nil {
		_ = client.Close() // nothing was sent by it
		return err
	}
	p.probe, p.close = p.keeper.Probe, p.way.Close
	return nil
}

func (v *providers) openV1(p *plugin, options kmsclient.Options) error {
	p.anew = make(chan struct{}, 1)
	options.Connected = func() {
		select {
		case p.anew <- struct{}{}:
		default: // it is known already
		}
	}
	client, err := kmsclient.NewV1(options)
	if err != nil {
		return err
	}
	provider, err := kmsv1.New(p.name, client, kmsv1.Options{
		CacheSize: p.given.CacheSize, Watch: v.envelopes, Samples: v.samples(p.name), Endpoint: p.given.Endpoint,
	})
	if err != nil {
		_ = client.Close() // nothing was sent by it
		return err
	}
	p.provider, p.v1, p.asked, p.probe, p.cached = provider, provider, health.NewMemo(provider.Check).Err, p.healthV1, provider.Cached
	p.close = func() error {
		defer provider.Close()
		return client.Close()
	}
	return nil
}

// key is how a plugin is told from others.
func (p *plugin) key() string { return p.version + "/" + p.name }

// ready says why values cannot be written by the plugin now, or nil.
func (p *plugin) ready(ctx context.Context) error {
	if err := p.probe(ctx); err != nil {
		return err
	}
	_, err := p.provider.Mark()
	return err
}
