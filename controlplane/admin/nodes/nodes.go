// Package nodes is the part of the Admin API that shows the control plane's own nodes: which live, by their
// leases in the database, and which are heard, by their messages. Both are controlplane/members' and
// controlplane/peer's to know.
package nodes

import (
	"context"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/peer"
	"github.com/keepgate/keepgate/controlplane/peer/bus"
)

// Members reads the leases.
type Members interface {
	All(ctx context.Context) ([]members.Member, error)
}

// Deps is what the API stands on.
type Deps struct {
	Self    string // id of this node
	Members Members
	Heard   func() peer.Status // nil: this node exchanges no messages
	Bus     func() bus.Status  // nil as well
}

// API answers for the nodes.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) { t.Handle("GET", "/clustering/control-planes", a.list) }

// row is one node.
type row struct {
	ID       string  `json:"id"`
	Self     bool    `json:"self"`
	Live     bool    `json:"live"`
	Refused  string  `json:"refused,omitempty"` // why its lease is not believed
	Name     string  `json:"name"`
	Hostname string  `json:"hostname"`
	Version  string  `json:"version"`
	Address  string  `json:"address,omitempty"` // of its embedded NATS server
	Started  int64   `json:"started_at"`        // Unix seconds
	Age      float64 `json:"lease_age"`         // seconds since its lease was renewed, by the database's clock
	Expires  int64   `json:"certificate_expires_at,omitempty"`
	Keyring  ring    `json:"keyring"`
	Heard    *int64  `json:"heard_at"` // Unix seconds of its last message; null: none
}

// ring is what the node says of its keyring.
type ring struct {
	Strategy string   `json:"strategy"`
	Sequence uint64   `json:"sequence"`
	Holds    []string `json:"holds"`
	Joined   bool     `json:"joined"` // activations wait for it
}

// messages is how the node stands with NATS.
type messages struct {
	Embedded  bool              `json:"embedded"`
	Connected bool              `json:"connected"`
	Server    string            `json:"server,omitempty"`
	Routes    int               `json:"routes"`
	Problem   string            `json:"problem,omitempty"`
	Refused   map[string]uint64 `json:"refused"` // messages since the start, by reason
}

func (a *API) list(r *rest.Request) (rest.Answer, error) {
	all, err := a.deps.Members.All(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	heard := map[string]int64{}
	page := map[string]any{"next": nil, "nats": nil}
	if a.deps.Heard != nil && a.deps.Bus != nil {
		status, carrier := a.deps.Heard(), a.deps.Bus()
		for _, other := range status.Peers {
			heard[other.Node] = other.Last.Unix()
		}
		page["nats"] = messages{
			Embedded: carrier.Embedded, Connected: status.Connected, Server: carrier.Server, Routes: carrier.Routes,
			Problem: carrier.Problem, Refused: status.Refused,
		}
	}
	data := []row{}
	for _, m := range all {
		shown := row{
			ID: m.Node, Self: m.Node == a.deps.Self, Live: m.Live, Refused: m.Refused, Name: m.Name, Hostname: m.Hostname, Version: m.Version,
			Address: m.Address, Started: m.Started, Age: m.Age.Truncate(time.Millisecond).Seconds(), Expires: m.CertificateExpires,
			Keyring: ring{Strategy: m.Strategy, Sequence: m.Sequence, Holds: append([]string{}, m.Holds...), Joined: m.Joined},
		}
		if at, ok := heard[m.Node]; ok {
			shown.Heard = &at
		}
		data = append(data, shown)
	}
	page["data"] = data
	return rest.JSON(http.StatusOK, page), nil
}
