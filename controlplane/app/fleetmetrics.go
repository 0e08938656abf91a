package app

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/shared/version"
)

// DataPlanes is the fleet as metrics show it.
func (n node) DataPlanes(ctx context.Context) ([]health.DataPlane, error) {
	list, err := n.plane.fleet.List(ctx)
	if err != nil {
		return nil, err
	}
	revoked := n.plane.shutOut()
	now, shown := time.Now(), make([]health.DataPlane, len(list))
	for i, one := range list {
		standing, link := one.Standing(version.Text, n.plane.pluginVersion), "linked"
		switch {
		case revoked[one.Environment+"/"+one.Name]:
			link = "revoked"
		case one.Away(now):
			link = "away"
		}
		lag, _ := n.plane.publisher.Lag(one.Environment, one.Held) // what is not known is not counted
		shown[i] = health.DataPlane{
			ID: one.NodeID, Hostname: one.Hostname, IP: one.IP, Version: one.Version, LastSeen: one.LastSeen, ConfigHash: one.Held.Hash,
			Refuses:     standing != fleet.Normal && standing != fleet.Unknown && standing != fleet.Ahead,
			Environment: one.Environment, Status: string(standing), Link: link, LagVersions: lag.Versions, LagSeconds: lag.Seconds,
			CertificateExpires: one.CertExpiresAt, Quarantined: len(one.Quarantined),
		}
	}
	return shown, nil
}

// Refusals counts what data planes refused.
func (n node) Refusals() map[string]uint64 { return n.plane.fleet.Refusals() }

// shutOut are the data planes that were revoked, by "<environment>/<name>".
func (p *plane) shutOut() map[string]bool {
	all := map[string]bool{}
	for _, n := range p.registry.List() {
		if shutOut(n.Document) {
			all[n.Key] = true
		}
	}
	return all
}

// shutOut reports whether a data plane was revoked and has not joined again since.
func shutOut(d nodes.Document) bool { return d.RevokedAt > 0 && len(d.Certificates) == 0 }
