package node

import (
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
)

func TestADataPlaneThatIsNotHeardOfIsAway(t *testing.T) {
	t.Parallel()
	for silence, away := range map[time.Duration]bool{0: false, 50 * time.Second: false, 62 * time.Second: true, 72 * time.Hour: true} {
		s := fleet.Status{LastSeen: time.Now().Add(-silence).Unix(), SyncStatus: fleet.Normal}
		if d := (&API{}).shown(s); d.Away != away || d.SyncStatus != fleet.Normal {
			t.Errorf("after %v it is away: %v, status %s", silence, d.Away, d.SyncStatus)
		}
	}
	if !(&API{}).shown(fleet.Status{LastSeen: time.Now().Unix(), Left: true}).Away {
		t.Error("one whose link was cut this second is not away")
	}
}
