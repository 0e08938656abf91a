package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/controlplane/admin/encryption"
	cipher "github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// ask has the file looked at now.
func (v *providers) ask() {
	if v.follower != nil {
		v.follower.Ask()
	}
}

// writable says why the secrets of some table cannot be written now, or nil.
func (v *providers) writable() error {
	chains := v.cipher.Chains()
	for _, table := range v.options.Tables {
		if _, err := v.cipher.Mark(table); err != nil {
			return v.cause(chains.Of(table).Providers[0], err)
		}
	}
	return nil
}

// cause names the plugin where it is for want of it that a provider cannot write.
func (v *providers) cause(writer cipher.Provider, err error) error {
	keeper := v.plane.kms
	if writer.Prefix() != record.KeyringPrefix {
		keeper = nil
	}
	for _, p := range v.ordered() {
		if p.provider == writer {
			keeper = p.keeper
		}
	}
	if keeper == nil {
		return err
	}
	if sealing := keeper.Sealing(); sealing != nil {
		return sealing
	}
	return err
}

// ordered are the plugins of the file in its order, as often as they stand there.
func (v *providers) ordered() (list []*plugin) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.config == nil {
		return nil
	}
	for _, given := range v.config.Plugins() {
		list = append(list, v.plugins[pluginKey(given)])
	}
	return list
}

// checks are the health checks of the plugins, and that of the keyring where it has one, after them.
func (v *providers) checks() health.Plugins {
	automatic := v.plane.settings.Keyring.ProviderConfigReload
	checks := health.Plugins{MayBe: automatic}
	older := false
	for _, p := range v.ordered() {
		checks.Checks = append(checks.Checks, p.probe)
		older = older || p.keeper == nil
	}
	if keeper := v.plane.kms; keeper != nil {
		checks.Checks = append(checks.Checks, keeper.Probe)
		older = older || keeper.Health().APIVersion == "v1"
	}
	checks.Each = older && !automatic
	return checks
}

// collectors are the metrics of encryption.
func (v *providers) collectors() []prometheus.Collector {
	return []prometheus.Collector{v.metrics, v.envelopes, health.NewPluginCounts(v.plane.id, v.pluginCounts), health.NewRows(v.tally.last)}
}

// cached counts the keys of values that the caches of all plugins of version 1 hold, and have room for.
func (v *providers) cached() (held, room int) {
	seen := map[*plugin]bool{}
	for _, p := range v.ordered() {
		if p.cached != nil && !seen[p] {
			seen[p] = true
			one, most := p.cached()
			held, room = held+one, room+most
		}
	}
	return held, room
}

func (v *providers) pluginCounts() (list []health.PluginCounts) {
	if v.plane.kms != nil {
		list = append(list, countsOf(keyringProvider, v.plane.kms, v.plane.ring))
	}
	seen := map[*plugin]bool{}
	for _, p := range v.ordered() {
		if p.keeper != nil && !seen[p] {
			seen[p] = true
			list = append(list, countsOf(p.name, p.keeper, p.ring))
		}
	}
	return list
}

func countsOf(name string, keeper *kms.Keeper, ring *keyring.Ring) health.PluginCounts {
	counts := keeper.Counts()
	shown := health.PluginCounts{Provider: name, Named: map[string]time.Time{}, Invalid: counts.Invalid, Held: len(ring.Held())}
	for _, use := range counts.Uses {
		shown.Uses = append(shown.Uses, health.KeyUse{Direction: use.Transformation, KeyHash: use.KeyIDHash, Total: use.Total, Last: use.Last})
	}
	for _, seen := range counts.Status {
		shown.Named[seen.KeyIDHash] = seen.Last
	}
	return shown
}

// room is the Admin API's part about encryption.
func (v *providers) room() *encryption.API {
	return encryption.New(encryption.Deps{
		Catalog: v.plane.catalog, Cipher: v.cipher, Count: v.tally.count, Plugins: v.shown,
		Configuration: func() *encryption.Configuration {
			if v.follower == nil {
				return nil
			}
			state := v.follower.State()
			c := &encryption.Configuration{
				Path: v.plane.settings.Keyring.ProviderConfig, Hash: state.Hash, Taken: state.Taken.Unix(), Automatic: state.Automatic, Problem: state.Problem,
			}
			if state.Problem != "" {
				c.Tried = state.Tried.Unix()
			}
			return c
		},
	})
}

// shown are the plugins for the Admin API: each once.
func (v *providers) shown(ctx context.Context) (list []encryption.Plugin) {
	seen := map[*plugin]bool{}
	config := v.current()
	if config == nil {
		return nil
	}
	given := config.Plugins()
	for i, p := range v.ordered() {
		if seen[p] || i >= len(given) {
			continue
		}
		seen[p] = true
		list = append(list, p.shown(ctx, given[i]))
	}
	return list
}

func (p *plugin) shown(ctx context.Context, given providerconfig.Plugin) encryption.Plugin {
	shown := encryption.Plugin{Provider: "kms " + p.version, Name: p.name, Endpoint: given.Endpoint}
	if p.keeper == nil {
		err := p.probe(ctx)
		shown.Healthy, shown.Problem = err == nil, fault.Text(err)
		return shown
	}
	h := p.keeper.Health()
	shown.Healthy, shown.Problem, shown.KeyIDHash, shown.ActiveKey, shown.Waiting = h.Healthy, h.Text, h.KeyIDHash, h.ActiveKey, h.WaitingFor
	if !h.Since.IsZero() {
		shown.Since = h.Since.Unix()
	}
	if !h.ActiveFrom.IsZero() {
		shown.KeyAge = int64(time.Since(h.ActiveFrom) / time.Second)
	}
	shown.Keys = len(p.ring.Held())
	return shown
}
