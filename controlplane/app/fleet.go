package app

import (
	"encoding/hex"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/environments"
	"github.com/keepgate/keepgate/shared/version"
)

// fleetRoom is the part of the Admin API that shows the data planes.
func (p *plane) fleetRoom() admin.Room {
	return dataplanes.New(dataplanes.Deps{
		Fleet: p.fleet, Newest: p.newest, Head: p.store.Head, Published: p.publisher.Seen, Plugin: p.pluginVersion, AcceptRestore: p.acceptRestore, Enrolled: p.enrolled,
		Version: version.Text, PurgeDelay: p.settings.Cluster.PurgeDelay,
	})
}

// environmentRoom is the part of the Admin API that knows environments beyond their rows.
func (p *plane) environmentRoom() admin.Room {
	return environments.New(environments.Deps{
		Catalog: p.catalog, Fleet: p.fleet, Enrolled: p.registry.Enrolled, Wake: p.peers.committed,
		Revoked: func(environment, name string) bool {
			d, found := p.registry.Find(environment, name)
			return found && d.RevokedAt > 0 && len(d.Certificates) == 0
		},
	})
}

// newest is what the data planes of an environment should hold.
func (p *plane) newest(environment string) (dataplanes.Position, bool) {
	epoch, number, sum, ok := p.publisher.Current(environment)
	return dataplanes.Position{Epoch: epoch, Version: number, Hash: hex.EncodeToString(sum[:])}, ok
}

// pluginVersion is the version in which this control plane knows a plugin.
func (p *plane) pluginVersion(name string) (string, bool) {
	known, found := p.catalog.Schema().Plugin(name)
	return known.Version, found
}
