package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
)

// noKeys stands for a ring where only the form of its values counts.
type noKeys struct{}

func (noKeys) Active() (string, *aead.Key, error) { return "", nil, errNoKeys }

func (noKeys) ActiveID() string                                              { return "" }
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

// chains says what writes and reads each table: as the file says, and as the settings say where it says nothing. None
// of them leaves a KEK or the key of the edge authority in clear.
func (v *providers) chains(config *providerconfig.Config, opened map[string]*plugin) (encryption.Chains, error) {
	chains, err := v.declared(config, opened)
	if err == nil {
		chains.Guard(tableKeks, encryption.IdentityUnless(keks.Sealed))
		chains.Guard(tableTrust, encryption.IdentityUnless(authority.Sealed))
	}
	return chains, err
}

func (v *providers) declared(config *providerconfig.Config, opened map[string]*plugin) (encryption.Chains, error) {
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

// checkSign stands between a prefix in a lease and the check value of the key, of which the name alone says nothing.
const checkSign = "#"

// prefixesOf are those of all that a list of a file reads; the first is that of what it writes.
func prefixesOf(list []providerconfig.Provider) (prefixes []string) {
	for _, p := range list {
		if len(p.Keys) == 0 {
			prefixes = append(prefixes, prefixOf(p, ""))
		}
		for _, key := range p.Keys {
			prefix := prefixOf(p, key.Name)
			prefixes = append(prefixes, prefix+checkSign+keyCheck(strings.TrimSuffix(prefix, ":"), key))
		}
	}
	return prefixes
}
