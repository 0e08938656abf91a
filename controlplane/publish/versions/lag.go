package versions

import (
	"encoding/hex"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/shared/configset"
)

// Lag says how far what a data plane holds is behind the newest version. It is not known of one that holds what this node has not
// read yet, or what the database never gave out.
func (e *Environment) Lag(held fleet.Held, now time.Time) (lag fleet.Lag, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || held.Epoch > e.current.Epoch || held.Epoch == e.current.Epoch && held.Version > e.current.Number {
		return lag, false
	}
	oldest := e.order[0]
	since := oldest
	lag = fleet.Lag{Versions: uint64(len(e.order)), AtLeast: held.Hash != ""}
	if sum, err := hex.DecodeString(held.Hash); err == nil && len(sum) == len(configset.Hash{}) {
		if v := e.known[configset.Hash(sum)]; v != nil && v.Epoch == held.Epoch {
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
