// Package dataplanes is the part of the Admin API that shows the fleet: GET /clustering/data-planes, with Kong's members and
// what else an operator wants to see, one data plane of them, and what Kong showed before.
//
// What is known comes from controlplane/fleet, who is shut out from the registry of nodes, what there is to hold from
// controlplane/publish. Nothing here changes a data plane; revoking one is another room's.
package dataplanes

import (
	"context"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// Position is what the data planes of an environment should hold.
type Position struct {
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
	Hash    string `json:"hash"`
}

// Enrolment is what is on record of a data plane that this control plane has certified or shut out. Times are Unix seconds; 0: never.
type Enrolment struct {
	JoinedAt, RenewedAt, RevokedAt int64
	Reason                         string // of the revocation
	// Serials are those of the certificates that it may still link with; none: it is not known which.
	Serials []string
}

// Deps is what the API stands on.
type Deps struct {
	Fleet interface {
		List(ctx context.Context) ([]fleet.Status, error)
	}
	// Newest is what an environment's data planes should hold; not ok before the database was read, or when there is no
	// such environment.
	Newest func(environment string) (p Position, ok bool)
	// Head reads the newest revision from the database; Published is the newest that data planes are offered.
	Head      func(ctx context.Context) (uint64, error)
	Published func() uint64
	// Lag is how far behind that a data plane is; not ok when nothing is known. nil: it is not known of any.
	Lag func(environment string, held fleet.Held) (lag fleet.Lag, ok bool)
	// Enrolled is what is on record, by "<environment>/<name>". nil: nothing is.
	Enrolled func(ctx context.Context) (map[string]Enrolment, error)
	// Plugin returns the version of a plugin.
	Plugin func(name string) (version string, found bool)
	// AcceptRestore tells data planes that the database's history began anew, and returns the new epoch.
	AcceptRestore func(ctx context.Context) (epoch uint64, err error)

	Version    string        // of this control plane
	PurgeDelay time.Duration // how long a data plane that is gone stays listed
}

// API answers for data planes.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/clustering/data-planes", a.list)
	t.Handle("GET", "/clustering/data-planes/{data_plane}", a.one)
	t.Handle("GET", "/clustering/status", a.older)
	t.Handle("POST", "/clustering/accept-restore", a.acceptRestore)
}

// older is what Kong had before the list.
func (a *API) older(r *rest.Request) (rest.Answer, error) {
	list, err := a.deps.Fleet.List(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	body := map[string]any{}
	for _, s := range list {
		body[s.NodeID] = map[string]any{"config_hash": s.Held.Hash, "hostname": s.Hostname, "ip": s.IP, "last_seen": s.LastSeen}
	}
	answer := rest.JSON(http.StatusOK, body)
	answer.Header = http.Header{"Deprecation": {"true"}}
	return answer, nil
}

func (a *API) acceptRestore(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("accepting a restored database"); err != nil {
		return rest.Answer{}, err
	}
	epoch, err := a.deps.AcceptRestore(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"epoch": epoch, "message": "data planes will take this database's configuration, also where theirs is newer",
	}), nil
}
