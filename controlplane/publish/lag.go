package publish

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/shared/configset"
)

// Lag says how far what a data plane holds is behind what its environment's data planes should hold. It is not known of
// one that holds what this node has not read yet, or what the database never gave out.
func (p *Publisher) Lag(environment string, held fleet.Held) (fleet.Lag, bool) {
	if !slices.Contains(p.environments.names(), environment) {
		return fleet.Lag{}, false
	}
	return p.environments.of(environment).lag(held, time.Now())
}

func (e *environment) lag(held fleet.Held, now time.Time) (lag fleet.Lag, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || held.Epoch > e.current.epoch || held.Epoch == e.current.epoch && held.Version > e.current.number {
		return lag, false
	}
	oldest := e.order[0]
	since := oldest
	lag = fleet.Lag{Versions: uint64(len(e.order)), AtLeast: held.Hash != ""}
	if sum, err := hex.DecodeString(held.Hash); err == nil && len(sum) == len(configset.Hash{}) {
		if v := e.known[configset.Hash(sum)]; v != nil && v.epoch == held.Epoch {
			lag = fleet.Lag{Versions: e.current.serial - v.serial}
			if lag.Versions == 0 {
				return lag, true
			}
			since = e.order[v.serial-oldest.serial+1]
		}
	}
	lag.Seconds = max(0, int64(now.Sub(since.shown)/time.Second))
	return lag, true
}
