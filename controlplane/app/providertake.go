package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

const healthyWithin = 10 * time.Second // at least, for the plugins of a file that is taken

// take puts another file in force. Its plugins must be well first; then all tables change at once. Whatever fails
// leaves everything as it was.
//
// A plugin of v2 that stands in both files stays open, since its seeds are one ring in this process: where it is to be
// reached otherwise now, the way there must lead to the same plugin.
func (v *providers) take(ctx context.Context, text providerconfig.Text) error {
	v.taking.Lock()
	defer v.taking.Unlock()
	config, err := text.Parse(v.options)
	if err != nil {
		return err
	}
	v.warn(config)
	opened, err := v.openAll(ctx, config)
	if err == nil {
		err = v.swap(ctx, config, opened)
	}
	if err != nil {
		for _, p := range opened.plugins {
			if v.openNow(p.key()) != p {
				v.close(p)
			}
		}
		for _, m := range opened.moves {
			_ = m.client.Close() // it was tried alone
		}
		return err
	}
	v.plane.log.Info("every table is written by the new file of providers now; what rests otherwise is written again by: keepgate-cp keyring reencrypt")
	return nil
}

// swap puts what was opened for a configuration in force, if all of it is as it must be.
func (v *providers) swap(ctx context.Context, config *providerconfig.Config, opened opening) error {
	chains, err := v.chains(config, opened.plugins)
	if err != nil {
		return err
	}
	// What is refused is refused here mostly, before others see this node's lease change. It is looked at again after that,
	// when no node begins to write what the file does not read.
	if err := errors.Join(v.readable(ctx, config, &chains), v.kept(config)); err != nil {
		return err
	}
	if err := v.proven(ctx, opened.plugins); err != nil {
		return err
	}
	if err := v.healthy(ctx, config, opened); err != nil {
		return err
	}
	err = v.announced(ctx, config, func() error {
		if err := v.agreed(ctx, config); err != nil {
			return err
		}
		if err := v.readable(ctx, config, &chains); err != nil {
			return err
		}
		if err := v.record(ctx, config); err != nil {
			return err
		}
		if err := v.keepChecks(ctx, config); err != nil {
			return err
		}
		return v.cipher.Swap(ctx, chains)
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	before, former := v.config, v.plugins
	v.config, v.plugins = config, opened.plugins
	v.mu.Unlock()
	v.metrics.InForce(config.Hash)
	v.tally.changed()
	var ends []func()
	for _, m := range opened.moves {
		closeFormer := m.take()
		ends = append(ends, func() { _ = closeFormer() }) // nothing is asked of it any more
	}
	for name, p := range former {
		if opened.plugins[name] != p {
			ends = append(ends, func() { v.close(p) })
		}
	}
	v.later(before.Grace(), ends)
	return nil
}

// announced says in this node's lease what a configuration reads and writes before it does something, and takes that
// back when it fails.
func (v *providers) announced(ctx context.Context, config *providerconfig.Config, do func() error) error {
	peers := v.plane.peers
	before := peers.chains.Swap(v.says(config))
	err := peers.members.Renew(ctx)
	if err == nil {
		err = do()
	}
	if err == nil {
		return nil
	}
	peers.chains.Store(before)
	if renewErr := peers.members.Renew(context.WithoutCancel(ctx)); renewErr != nil {
		v.plane.log.Warn("the other nodes do not know yet that this one did not change its providers", "error", renewErr)
	}
	return err
}

// healthy waits until the plugins of a configuration can write, for a bounded time. One that is open already and writes
// nothing may be away: what it does not hold now it would not hold with the file before either, and when a plugin is
// lost, another provider has to take over from it without the restart that would cost its seeds.
func (v *providers) healthy(ctx context.Context, config *providerconfig.Config, opened opening) error {
	ctx, cancel := context.WithTimeout(ctx, max(healthyWithin, config.Grace()))
	defer cancel()
	writers := slices.Collect(maps.Values(v.says(config).Writes))
	for _, p := range opened.plugins {
		if v.openNow(p.key()) == p && !slices.Contains(writers, p.provider.Prefix()) {
			continue
		}
		ready := func(ctx context.Context) error {
			if err := p.ready(ctx); err != nil {
				return err
			}
			return v.openedByAll(ctx, p, writers)
		}
		if err := until(ctx, p.name, ready); err != nil {
			return err
		}
	}
	for _, m := range opened.moves {
		if err := until(ctx, m.given.Name, m.well); err != nil {
			return err
		}
	}
	return nil
}

func until(ctx context.Context, name string, well func(ctx context.Context) error) error {
	for {
		err := well(ctx)
		if err == nil {
			return nil
		}
		if !lifecycle.Pause(ctx, 100*time.Millisecond) {
			return fault.Newf(fault.Unavailable, "app.Reload", settingProviders, "KMS provider %s is not healthy: %s", name, fault.Text(err))
		}
	}
}

// later closes what is in use no longer, when calls that have begun are surely over.
func (v *providers) later(grace time.Duration, ends []func()) {
	if len(ends) == 0 {
		return
	}
	v.group.start(lifecycle.Part{Name: "former providers", Run: func(ctx context.Context) error {
		if lifecycle.Pause(ctx, grace) {
			for _, end := range ends {
				end()
			}
		}
		return nil
	}})
}

// close ends what runs for a plugin.
func (v *providers) close(p *plugin) {
	p.stop()
	v.plane.log.Info("a KMS provider is closed", "provider", p.name)
}
