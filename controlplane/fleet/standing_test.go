package fleet_test

import (
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
)

func TestADataPlaneThatIsNotHeardOfIsAway(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for silence, away := range map[time.Duration]bool{0: false, 50 * time.Second: false, 62 * time.Second: true, 72 * time.Hour: true} {
		s := fleet.Status{LastSeen: now.Add(-silence).Unix(), SyncStatus: fleet.Normal}
		if s.Away(now) != away {
			t.Errorf("after %v it is away: %v", silence, !away)
		}
	}
	if !(fleet.Status{LastSeen: now.Unix(), Left: true}).Away(now) {
		t.Error("one whose link was cut this second is not away")
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	const ours = "2.5.1"
	versions := map[string]string{"jwt": "3.8.1", "acl": "3.8.1"}
	all := map[string]string{"jwt": "3.8.1", "acl": "3.8.1"}
	unusable := func(names ...string) (list []fleet.Quarantined) {
		for _, name := range names {
			list = append(list, fleet.Quarantined{Kind: "plugins", Name: name})
		}
		return list
	}
	for name, test := range map[string]struct {
		status fleet.Status
		want   fleet.SyncStatus
	}{
		"of the same version":           {fleet.Status{Label: fleet.Label{Version: "2.5.9"}, SyncStatus: fleet.Normal}, fleet.Normal},
		"has not answered":              {fleet.Status{Label: fleet.Label{Version: ours}, SyncStatus: fleet.Unknown}, fleet.Unknown},
		"two before":                    {fleet.Status{Label: fleet.Label{Version: "2.3.0"}, SyncStatus: fleet.Normal}, fleet.Normal},
		"three before":                  {fleet.Status{Label: fleet.Label{Version: "2.2.9"}, SyncStatus: fleet.Normal}, fleet.VersionIncompatible},
		"one after":                     {fleet.Status{Label: fleet.Label{Version: "2.6.0"}, SyncStatus: fleet.Normal}, fleet.Normal},
		"two after":                     {fleet.Status{Label: fleet.Label{Version: "2.7.0"}, SyncStatus: fleet.Unknown}, fleet.VersionIncompatible},
		"another major":                 {fleet.Status{Label: fleet.Label{Version: "3.5.1"}, SyncStatus: fleet.Normal}, fleet.VersionIncompatible},
		"a version of its own making":   {fleet.Status{Label: fleet.Label{Version: "main-1234"}, SyncStatus: fleet.Normal}, fleet.Normal},
		"refused, and too old":          {fleet.Status{Label: fleet.Label{Version: "1.0"}, SyncStatus: fleet.Refused}, fleet.Refused},
		"ahead":                         {fleet.Status{SyncStatus: fleet.Ahead}, fleet.Ahead},
		"lacks a plugin":                {fleet.Status{Label: fleet.Label{Plugins: map[string]string{"acl": "3.8.1"}}, SyncStatus: fleet.Normal, Quarantined: unusable("jwt")}, fleet.PluginSetIncompatible},
		"an older one, unusable":        {fleet.Status{Label: fleet.Label{Plugins: map[string]string{"jwt": "2.8.1"}}, SyncStatus: fleet.Normal, Quarantined: unusable("jwt")}, fleet.PluginVersionIncompatible},
		"a newer one, unusable":         {fleet.Status{Label: fleet.Label{Plugins: map[string]string{"jwt": "3.9.0"}}, SyncStatus: fleet.Normal, Quarantined: unusable("jwt")}, fleet.PluginVersionIncompatible},
		"an older one that works":       {fleet.Status{Label: fleet.Label{Plugins: map[string]string{"jwt": "2.8.1"}}, SyncStatus: fleet.Normal}, fleet.Normal},
		"lacking counts more":           {fleet.Status{Label: fleet.Label{Plugins: map[string]string{"jwt": "2.8.1"}}, SyncStatus: fleet.Normal, Quarantined: unusable("jwt", "acl")}, fleet.PluginSetIncompatible},
		"the configuration is at fault": {fleet.Status{Label: fleet.Label{Plugins: all}, SyncStatus: fleet.Normal, Quarantined: unusable("jwt")}, fleet.Normal},
		"another entity is at fault":    {fleet.Status{Label: fleet.Label{Plugins: all}, SyncStatus: fleet.Normal, Quarantined: []fleet.Quarantined{{Kind: "routes", Name: "r"}}}, fleet.Normal},
		"says nothing of its plugins":   {fleet.Status{SyncStatus: fleet.Normal, Quarantined: unusable("jwt")}, fleet.Normal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := test.status.Standing(ours, func(name string) (string, bool) { v, ok := versions[name]; return v, ok })
			if got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
