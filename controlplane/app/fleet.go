package app

import (
	"encoding/hex"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/shared/version"
)

// fleetRoom is the part of the Admin API that shows the data planes.
func (p *plane) fleetRoom() admin.Room {
	return dataplanes.New(dataplanes.Deps{
		Fleet: p.fleet, Newest: p.newest, Head: p.store.Head, Published: p.publisher.Seen, Plugin: p.pluginVersion, AcceptRestore: p.acceptRestore, Enrolled: p.enrolled,
		Version: version.Text, PurgeDelay: p.settings.Cluster.PurgeDelay,
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
