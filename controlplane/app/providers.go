package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// providers are what seals the tables: those of encryption_provider_config where there is one, else those of the
// settings.
type providers struct {
	plane     *plane
	schema    *schema.Schema
	options   providerconfig.Options
	group     group // what runs for plugins
	metrics   *health.Encryption
	envelopes *health.Envelopes
	tally     *tally
	cipher    *encryption.Cipher
	follower  *providerconfig.Follower // nil: there is no file
	taking    sync.Mutex               // one file at a time

	mu      sync.Mutex
	config  *providerconfig.Config // in force; nil: there is no file. guarded by mu
	plugins map[string]*plugin     // in force, by version and name. guarded by mu
}

// providerOptions is what a file may ask for by the settings.
func providerOptions(entities *schema.Schema, s cpsettings.ControlPlane) (providerconfig.Options, error) {
	return providerconfig.OptionsOf(entities, s.Keyring.Enabled, s.Keyring.AllowUnboundProviders, s.Keyring.FeatureGates)
}

// checkProviders finds faults in the file that the settings name, and in what they say of it.
func checkProviders(s cpsettings.ControlPlane) error {
	options, err := providerOptions(schema.New(plugins.All()), s)
	switch {
	case err != nil:
		return err
	case s.Keyring.ProviderConfig == "" && s.Keyring.ProviderConfigReload:
		return fault.Newf(fault.Invalid, "app.Run", "encryption_provider_config_automatic_reload", "there is nothing to reload: set encryption_provider_config")
	case s.Keyring.ProviderConfig == "":
		return nil
	case s.Keyring.DecryptAll || s.Keyring.MigratePlaintext:
		return fault.Newf(fault.Invalid, "app.Run", "encryption_provider_config", "keyring_decrypt_all and keyring_migrate_plaintext say what may be in clear where there is no "+
			"file; with one, identity in a list of providers does: first to write in clear, last to read it. Take them out")
	}
	text, err := providerconfig.Read(s.Keyring.ProviderConfig)
	if err != nil {
		return err
	}
	defer text.Wipe()
	_, err = text.Parse(options)
	return err
}

// readProviders reads the file, before anything is opened.
func (p *plane) readProviders(entities *schema.Schema) error {
	options, err := providerOptions(entities, p.settings)
	if err != nil {
		return err
	}
	v := &providers{plane: p, schema: entities, options: options, metrics: health.NewEncryption(p.id), tally: newTally(p.store, entities, p.log), plugins: map[string]*plugin{}}
	v.envelopes = health.NewEnvelopes(v.cached)
	p.providers = v
	path := p.settings.Keyring.ProviderConfig
	if path == "" {
		return nil
	}
	text, err := providerconfig.Read(path)
	if err != nil {
		return err
	}
	defer text.Wipe()
	if v.config, err = text.Parse(options); err != nil {
		return err
	}
	v.warn(v.config)
	v.metrics.InForce(v.config.Hash)
	v.follower = providerconfig.NewFollower(path, v.config.Hash, v.take, providerconfig.FollowOptions{
		Automatic: p.settings.Keyring.ProviderConfigReload, Log: p.log, Tried: v.metrics.Reloaded,
	})
	return nil
}

func (v *providers) warn(config *providerconfig.Config) {
	for _, warning := range config.Warnings {
		v.plane.log.Warn("encryption_provider_config: " + warning)
	}
}

// current is the configuration in force, nil when there is none.
func (v *providers) current() *providerconfig.Config {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.config
}

// start opens what the file names, and makes the cipher. It waits for no plugin.
func (v *providers) start(ctx context.Context) (*encryption.Cipher, error) {
	config := v.current()
	opened, err := v.openAll(ctx, config)
	if err != nil {
		return nil, err
	}
	v.plugins = opened.plugins
	chains, err := v.chains(config, opened.plugins)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(v.readable(ctx, config, &chains), v.agreed(ctx, config)); err != nil {
		return nil, err
	}
	if err := v.proven(ctx, opened.plugins); err != nil {
		return nil, err
	}
	if err := errors.Join(v.record(ctx, config), v.keepChecks(ctx, config)); err != nil {
		return nil, err
	}
	v.cipher, err = encryption.New(ctx, v.plane.store, chains)
	return v.cipher, err
}

// opening is what a configuration needs of plugins.
type opening struct {
	plugins map[string]*plugin // by version and name
	moves   []move             // of plugins that are open and stand elsewhere in the configuration
}

// openAll opens the plugins of a configuration that are not open yet.
func (v *providers) openAll(ctx context.Context, config *providerconfig.Config) (o opening, err error) {
	o.plugins = map[string]*plugin{}
	if config == nil {
		return o, nil
	}
	for _, given := range config.Plugins() {
		name := pluginKey(given)
		if o.plugins[name] != nil {
			continue
		}
		has := v.openNow(name)
		switch {
		case has == nil || has.given != given && given.Version == "v1":
			if has, err = v.open(ctx, given); err != nil {
				return o, fmt.Errorf("opening KMS provider %s: %w", given.Name, err)
			}
		case has.given != given:
			client, err := kmsclient.NewV2(v.clientOptions(given))
			if err != nil {
				return o, err
			}
			o.moves = append(o.moves, move{has, given, client})
		}
		o.plugins[name] = has
	}
	return o, nil
}

// openNow is the plugin that is open under a name, or nil.
func (v *providers) openNow(name string) *plugin {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.plugins[name]
}

func pluginKey(given providerconfig.Plugin) string { return given.Version + "/" + given.Name }

// warnOfClear says which secrets rest in clear for want of a keyring.
func (v *providers) warnOfClear() {
	if v.config == nil {
		v.plane.log.Warn("keyring_enabled is off: secrets rest in the database in clear; set keyring_enabled = on")
		return
	}
	unnamed := slices.DeleteFunc(slices.Clone(v.options.Tables), func(table string) bool {
		_, _, found := v.config.Chain(table)
		return found
	})
	if len(unnamed) > 0 {
		v.plane.log.Warn("keyring_enabled is off: secrets of tables that encryption_provider_config does not name rest in clear; name them, or set keyring_enabled = on", "tables", unnamed)
	}
}

// parts are what runs for the providers.
func (v *providers) parts() []lifecycle.Part {
	parts := []lifecycle.Part{
		{Name: "rows by key", Run: v.tally.run}, {Name: "index key", Run: func(ctx context.Context) error { return v.cipher.Run(ctx) }},
	}
	if v.follower == nil {
		return parts
	}
	return append(parts, lifecycle.Part{Name: "providers", Run: v.group.Run}, lifecycle.Part{Name: "encryption_provider_config", Run: v.follower.Run})
}

// await waits for the keys of plugins that are open, until ctx ends.
func (v *providers) await(ctx context.Context) {
	for _, p := range v.all() {
		if p.ring == nil {
			continue
		}
		for changed := p.ring.Changed(); ctx.Err() == nil && len(p.ring.Lacking()) > 0; changed = p.ring.Changed() {
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	}
}

// all are the plugins that are open.
func (v *providers) all() (list []*plugin) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.plugins {
		list = append(list, p)
	}
	return list
}
