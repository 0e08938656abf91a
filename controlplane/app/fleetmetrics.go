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
	documents := n.plane.documents()
	now, shown := time.Now(), make([]health.DataPlane, len(list))
	for i, one := range list {
		standing, link := one.Standing(version.Text, n.plane.pluginVersion), "linked"
		document := documents[nodes.Key(one.Environment, one.Name)]
		switch {
		case shutOut(document):
			link = "revoked"
		case one.Away(now) && replaced(document, one.Serial):
			link = "replaced"
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

// documents are what is on record of data planes, by "<environment>/<name>".
func (p *plane) documents() map[string]nodes.Document {
	all := map[string]nodes.Document{}
	for _, n := range p.registry.List() {
		all[n.Key] = n.Document
	}
	return all
}

// shutOut reports whether a data plane was revoked and has not joined again since.
func shutOut(d nodes.Document) bool { return d.RevokedAt > 0 && len(d.Certificates) == 0 }
