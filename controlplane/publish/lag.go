package publish

import (
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
)

// Lag says how far what a data plane holds is behind what its environment's data planes should hold. It is not known of
// one that holds what this node has not read yet, or what the database never gave out.
func (p *Publisher) Lag(environment string, held fleet.Held) (fleet.Lag, bool) {
	if !slices.Contains(p.environments.Names(), environment) {
		return fleet.Lag{}, false
	}
	return p.environments.Of(environment).Lag(held, time.Now())
}
