package app

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/shared/fault"
)

// openedByAll refuses to begin to write by a plugin whose active key a node that lives has not opened, as one that
// started while its own plugin was away: that node reads such values by its file, and cannot.
func (v *providers) openedByAll(ctx context.Context, p *plugin, writers []string) error {
	prefix, now := p.provider.Prefix(), v.cipher.Chains()
	if p.ring == nil || !slices.Contains(writers, prefix) || slices.Contains(now.Writers(), prefix) {
		return nil
	}
	live, err := ringMembers{v.plane.peers, encryption.RingName(p.name)}.Live(ctx)
	if err != nil {
		return err
	}
	id := p.ring.ActiveID()
	for _, m := range live {
		if m.Node != v.plane.id && !slices.Contains(m.Holds, id) {
			return fault.Newf(fault.Unavailable, "app.Reload", settingProviders, "control plane node %s has not opened its key %s: see that its own plugin is well, or stop it", m.Name, id)
		}
	}
	return nil
}
