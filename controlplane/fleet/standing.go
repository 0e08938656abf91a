package fleet

import (
	"strconv"
	"strings"
	"time"
)

// SyncStatus says how a data plane stands to the configuration that it should hold, in Kong's words where there are some.
type SyncStatus string

const (
	Unknown SyncStatus = "unknown" // linked, and has not answered yet
	Normal  SyncStatus = "normal"  // holds the newest that it was sent
	Refused SyncStatus = "refused" // refused the newest; serves what it had
	Ahead   SyncStatus = "ahead"   // holds more than the database ever had: was it restored?

	// What a data plane cannot keep up with. It goes on getting its configuration, and uses what it can of it.
	VersionIncompatible       SyncStatus = "kong_version_incompatible"   // older or newer than this control plane serves
	PluginSetIncompatible     SyncStatus = "plugin_set_incompatible"     // a plugin is configured that it does not have
	PluginVersionIncompatible SyncStatus = "plugin_version_incompatible" // or has in another version, and cannot use
)

// Standings lists every status that is shown.
func Standings() []SyncStatus {
	return []SyncStatus{Unknown, Normal, Refused, Ahead, VersionIncompatible, PluginSetIncompatible, PluginVersionIncompatible}
}

// awayAfter is how long nothing may be heard of a data plane that is linked.
const awayAfter = time.Minute

// A control plane serves data planes of the same major version, from two minor versions before its own to one after it.
const (
	minorsBefore = 2
	minorsAfter  = 1
)

// Away reports whether the data plane's last link has ended, or nothing was heard of it for too long.
func (s Status) Away(now time.Time) bool {
	return s.Left || now.Unix()-s.LastSeen > int64(awayAfter/time.Second)
}

// Standing is the status that is shown by a control plane of a version, which has plugins in the given versions. What
// became of the newest configuration comes first; a plugin counts as incompatible when the data plane has one
// configured and cannot use it, and not for being there in another version.
func (s Status) Standing(controlPlane string, plugins func(name string) (version string, found bool)) SyncStatus {
	if s.SyncStatus == Refused || s.SyncStatus == Ahead {
		return s.SyncStatus
	}
	if !served(controlPlane, s.Version) {
		return VersionIncompatible
	}
	standing := s.SyncStatus
	for _, q := range s.Quarantined {
		if q.Kind != "plugins" || len(s.Plugins) == 0 {
			continue
		}
		version, has := s.Plugins[q.Name]
		if !has {
			return PluginSetIncompatible
		}
		if ours, found := plugins(q.Name); found && !usable(ours, version) {
			standing = PluginVersionIncompatible
		}
	}
	return standing
}

// served reports whether a control plane serves data planes of a version. What is no version is not judged.
func served(controlPlane, dataPlane string) bool {
	major, minor, ok := versionOf(controlPlane)
	theirMajor, theirMinor, also := versionOf(dataPlane)
	if !ok || !also {
		return true
	}
	return major == theirMajor && theirMinor >= minor-minorsBefore && theirMinor <= minor+minorsAfter
}

// usable is Kong's rule for plugins: the same major version, and a minor one that the control plane has too.
func usable(ours, theirs string) bool {
	major, minor, ok := versionOf(ours)
	theirMajor, theirMinor, also := versionOf(theirs)
	return !ok || !also || major == theirMajor && theirMinor <= minor
}

// versionOf reads the first two numbers of a version.
func versionOf(text string) (major, minor int, ok bool) {
	first, rest, _ := strings.Cut(text, ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, also := strconv.Atoi(second)
	return major, minor, err == nil && also == nil && major >= 0 && minor >= 0
}

// Lag is how far what a data plane holds is behind what it should hold.
type Lag struct {
	Versions uint64 `json:"versions"` // newer ones than it holds
	Seconds  int64  `json:"seconds"`  // since the first of them
	// AtLeast: what it holds is older than this node remembers.
	AtLeast bool `json:"at_least,omitempty"`
}
