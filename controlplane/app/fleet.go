package app

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/environments"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/shared/version"
)

// fleetRoom is the part of the Admin API that shows the data planes.
func (p *plane) fleetRoom() admin.Room {
	return dataplanes.New(dataplanes.Deps{
		Fleet: p.fleet, Newest: p.newest, Head: p.store.Head, Published: p.publisher.Seen, Plugin: p.pluginVersion, AcceptRestore: p.acceptRestore, Enrolled: p.enrolled, Lag: p.publisher.Lag,
		Version: version.Text, PurgeDelay: p.settings.Cluster.PurgeDelay,
	})
}

// environmentRoom is the part of the Admin API that knows environments beyond their rows.
func (p *plane) environmentRoom() admin.Room {
	return environments.New(environments.Deps{
		Catalog: p.catalog, Fleet: p.fleet, Enrolled: p.registry.Enrolled, Wake: p.peers.committed,
		RotateKey: p.catalog.RotateFingerprintKey, KeyOf: p.fingerprintKey, Holds: p.holds, Kinds: p.kinds(),
		Revoked: func(environment, name string) bool {
			d, found := p.registry.Find(environment, name)
			return found && shutOut(d)
		},
	})
}

// remaining are the data planes that may come again: nobody waits for the others to hold something.
type remaining struct{ plane *plane }

// List implements publish.Nodes.
func (r remaining) List(ctx context.Context) ([]fleet.Status, error) {
	all, err := r.plane.fleet.List(ctx)
	now := time.Now()
	return slices.DeleteFunc(all, func(s fleet.Status) bool {
		d, found := r.plane.registry.Find(s.Environment, s.Name)
		return found && s.Away(now) && (shutOut(d) || replaced(d, s.Serial))
	}), err
}

// usable are the serials of the certificates that a data plane may link with: those before the newest that was used are
// not. None where it has none on record.
func usable(d nodes.Document) (serials []string) {
	for i := len(d.Certificates) - 1; i >= 0; i-- {
		serials = append(serials, d.Certificates[i].Serial)
		if d.Certificates[i].UsedAt > 0 {
			break
		}
	}
	return serials
}

// replaced reports whether who was seen with a certificate cannot come again, because another has the name since.
func replaced(d nodes.Document, serial string) bool {
	known := usable(d)
	return len(known) > 0 && !slices.Contains(known, serial)
}

// fingerprintKey is which fingerprint key an environment has, and who does not have it yet.
func (p *plane) fingerprintKey(ctx context.Context, environment string) (environments.Key, error) {
	change, err := p.publisher.FingerprintKey(ctx, environment)
	return environments.Key{ID: change.ID, Previous: change.Previous, Waiting: change.Waiting}, err
}

// holds is what an environment holds, and why.
func (p *plane) holds(environment string) ([]environments.Held, error) {
	all, err := p.publisher.Holds(environment, "")
	held := make([]environments.Held, len(all))
	for i, one := range all {
		held[i] = environments.Held(one)
	}
	return held, err
}

// kinds are the tables whose rows reach data planes.
func (p *plane) kinds() (tables []string) {
	for _, e := range p.catalog.Schema().Entities() {
		if e.Travels() {
			tables = append(tables, e.Table)
		}
	}
	return tables
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
