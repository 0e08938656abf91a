package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
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
	plane    *plane
	schema   *schema.Schema
	options  providerconfig.Options
	group    group // what runs for plugins
	metrics  *health.Encryption
	tally    *tally
	cipher   *encryption.Cipher
	follower *providerconfig.Follower // nil: there is no file
	taking   sync.Mutex               // one file at a time

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

// noKeys stands for a ring where only the form of its values counts.
type noKeys struct{}

func (noKeys) Active() (string, *aead.Key, error) { return "", nil, errNoKeys }

func (noKeys) Key(string) (*aead.Key, error)                                 { return nil, errNoKeys }
func (noKeys) Held() []string                                                { return nil }
func (noKeys) Lost(string) bool                                              { return false }
func (noKeys) Follow(context.Context, func(ctx context.Context) error) error { return nil }

var errNoKeys = errors.New("no keys")

// settled are the chains that the settings declare.
func (v *providers) settled(keys encryption.Keys) encryption.Chains {
	s := v.plane.settings.Keyring
	return encryption.FromSettings(keys, encryption.Options{
		Migrate: s.MigratePlaintext, Decrypt: s.DecryptAll, Clear: map[string]bool{tableLicenses: !s.EncryptLicense},
	})
}

// keys is the ring, nil when the keyring is off.
func (v *providers) keys() encryption.Keys {
	if v.plane.ring == nil {
		return nil
	}
	return v.plane.ring
}

// chains says what writes and reads each table: as the file says, and as the settings say where it says nothing.
func (v *providers) chains(config *providerconfig.Config, opened map[string]*plugin) (encryption.Chains, error) {
	keys := v.keys()
	settled := v.settled(keys)
	if config == nil {
		return settled, nil
	}
	b := building{v: v, opened: opened, identity: encryption.Identity(), static: map[string]encryption.Provider{}}
	if keys != nil {
		b.ring = encryption.Keyring(keys)
	}
	chains := encryption.Chains{Tables: map[string]*encryption.Chain{}, Complete: true, Plaintexts: v.plaintexts}
	var err error
	for _, table := range v.options.Tables {
		if chains.Tables[table], err = b.chain(config, table, settled.Of(table)); err != nil {
			return chains, err
		}
	}
	chains.Others, err = b.chain(config, members.EveryTable, settled.Others) // what *.* says, where it stands
	return chains, err
}

// plaintexts counts the rows in clear, of tables whose providers do not read that.
func (v *providers) plaintexts(ctx context.Context, pick func(table string) bool) (rows int, err error) {
	return catalog.Plaintexts(ctx, v.plane.store, v.schema, pick)
}

// building makes each provider of a file once.
type building struct {
	v              *providers
	opened         map[string]*plugin
	ring, identity encryption.Provider
	static         map[string]encryption.Provider
}

// chain is that of a table; where the file does not name it, that of the settings.
func (b *building) chain(config *providerconfig.Config, table string, settled *encryption.Chain) (*encryption.Chain, error) {
	list, line, found := config.Chain(table)
	if !found {
		return settled, nil
	}
	chain := &encryption.Chain{Origin: fmt.Sprintf("encryption_provider_config, line %d", line)}
	for _, p := range list {
		made, err := b.provider(p)
		if err != nil {
			return nil, err
		}
		chain.Providers = append(chain.Providers, made...)
	}
	return chain, nil
}

func (b *building) provider(p providerconfig.Provider) (made []encryption.Provider, err error) {
	switch p.Kind {
	case providerconfig.Keyring:
		return []encryption.Provider{b.ring}, nil
	case providerconfig.Identity:
		return []encryption.Provider{b.identity}, nil
	case providerconfig.KMS:
		return []encryption.Provider{b.opened[pluginKey(*p.Plugin)].provider}, nil
	}
	layout := map[providerconfig.Kind]aead.Layout{
		providerconfig.AESGCM: aead.BoxGCM, providerconfig.AESCBC: aead.BoxCBC, providerconfig.Secretbox: aead.BoxSecretbox,
	}[p.Kind]
	for _, key := range p.Keys {
		name := prefixOf(p, key.Name)
		if b.static[name] == nil {
			options := encryption.StaticOptions{Log: b.v.plane.log, AllowUnbound: b.v.plane.settings.Keyring.AllowUnboundProviders}
			if b.static[name], err = encryption.Static(layout, key.Name, key.Secret, options); err != nil {
				return nil, err
			}
		}
		made = append(made, b.static[name])
	}
	return made, nil
}

// prefixOf is how the values of a provider of a file begin; key is of those that have several.
func prefixOf(p providerconfig.Provider, key string) string {
	switch p.Kind {
	case providerconfig.Keyring:
		return record.KeyringPrefix
	case providerconfig.KMS:
		if p.Plugin.Version == "v1" {
			return record.KMS1Prefix + p.Plugin.Name + ":"
		}
		return record.KMS2Prefix + p.Plugin.Name + ":"
	case providerconfig.AESGCM:
		return record.AESGCMPrefix + key + ":"
	case providerconfig.AESCBC:
		return record.AESCBCPrefix + key + ":"
	case providerconfig.Secretbox:
		return record.SecretboxPrefix + key + ":"
	}
	return "identity"
}

// says is what the lease says of a configuration: what is read and written, by table.
func (v *providers) says(config *providerconfig.Config) *members.Say {
	var keys encryption.Keys
	if v.plane.settings.Keyring.Enabled {
		keys = noKeys{}
	}
	settled := v.settled(keys)
	say := &members.Say{Reads: map[string][]string{}, Writes: map[string]string{}}
	note := func(table string, chain *encryption.Chain) {
		one := encryption.Chains{Others: chain}
		say.Reads[table], say.Writes[table] = one.Prefixes(), one.Writers()[0]
	}
	for _, table := range append([]string{members.EveryTable}, v.options.Tables...) {
		note(table, settled.Of(table))
		if config == nil {
			continue
		}
		if list, _, found := config.Chain(table); found {
			reads := prefixesOf(list)
			say.Reads[table], say.Writes[table] = reads, reads[0]
		}
	}
	return say
}

// prefixesOf are those of all that a list of a file reads; the first is that of what it writes.
func prefixesOf(list []providerconfig.Provider) (prefixes []string) {
	for _, p := range list {
		if len(p.Keys) == 0 {
			prefixes = append(prefixes, prefixOf(p, ""))
		}
		for _, key := range p.Keys {
			prefixes = append(prefixes, prefixOf(p, key.Name))
		}
	}
	return prefixes
}

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
	parts := []lifecycle.Part{{Name: "rows by key", Run: v.tally.run}}
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
