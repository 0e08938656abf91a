package dataplanes

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// filter is what a query asks for: all that it names must hold.
type filter struct {
	environment string
	labels      map[string]string
	status      string
}

// filterOf reads ?environment=prod&label=region:eu&status=normal. label may be given several times.
func filterOf(query url.Values) (filter, error) {
	f := filter{environment: query.Get("environment"), status: query.Get("status"), labels: map[string]string{}}
	for _, given := range query["label"] {
		for word := range strings.SplitSeq(given, ",") {
			name, value, found := strings.Cut(word, ":")
			if !found {
				return f, rest.Refuse(http.StatusBadRequest, "label must be <name>:<value>")
			}
			if had, twice := f.labels[name]; twice && had != value {
				return f, rest.Refuse(http.StatusBadRequest, "no data plane has two values of the label '%s'", name)
			}
			f.labels[name] = value
		}
	}
	if f.status != "" && !slices.Contains(statuses(), f.status) {
		return f, rest.Refuse(http.StatusBadRequest, "status must be one of: %s", strings.Join(statuses(), ", "))
	}
	return f, nil
}

// statuses are what ?status= may be: those of sync_status, and what else tells data planes apart.
func statuses() []string {
	words := []string{"linked", "away", "revoked", "replaced", "quarantined"}
	for _, s := range fleet.Standings() {
		words = append(words, string(s))
	}
	return words
}

// of is the environment whose newest configuration is meant.
func (f filter) of() string {
	if f.environment == "" {
		return catalog.DefaultName
	}
	return f.environment
}

func (f filter) takes(show *show, s fleet.Status) bool {
	if f.environment != "" && s.Environment != f.environment {
		return false
	}
	for name, value := range f.labels {
		if had, ok := s.Labels[name]; !ok || had != value {
			return false
		}
	}
	switch f.status {
	case "":
		return true
	case "linked":
		return !s.Away(show.now)
	case "away":
		return s.Away(show.now)
	case "revoked":
		return show.revoked(s)
	case "replaced":
		return show.replaced(s)
	case "quarantined":
		return len(s.Quarantined) > 0
	}
	return string(show.standing(s)) == f.status
}
