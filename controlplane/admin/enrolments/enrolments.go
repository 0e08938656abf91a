// Package enrolments is the part of the Admin API by which data planes are let in and shut out: join tokens, what is on
// record of each data plane, and revoking one.
//
// Who may join is controlplane/enrol's to say, who may link controlplane/enrol/nodes's. A token is answered once, when it
// is made, and never again.
package enrolments

import (
	"context"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/shared/secret"
)

// Tokens are the join tokens; controlplane/enrol says what each method promises.
type Tokens interface {
	Invite(ctx context.Context, in enrol.Invitation) (text secret.Bytes, made enrol.Token, err error)
	Tokens(ctx context.Context) (list []enrol.Token, unreadable int, err error)
	Withdraw(ctx context.Context, id string) error
}

// Registry is who may link; controlplane/enrol/nodes says what each method promises.
type Registry interface {
	List() []nodes.Node
	Revoke(ctx context.Context, environment, name, reason string, seen ...nodes.Certificate) (nodes.Document, error)
}

// Fleet is every data plane that was seen.
type Fleet interface {
	List(ctx context.Context) ([]fleet.Status, error)
}

// Deps is what the API stands on.
type Deps struct {
	Tokens    Tokens
	Registry  Registry
	Fleet     Fleet
	Addresses func() []string // where data planes reach the control plane, host:port
}

// API answers for enrolments.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("POST", "/clustering/join-tokens", a.invite)
	t.Handle("GET", "/clustering/join-tokens", a.tokens)
	t.Handle("DELETE", "/clustering/join-tokens/{join_token}", a.withdraw)
	t.Handle("GET", "/clustering/enrolments", a.list)
	t.Handle("POST", "/clustering/data-planes/{data_plane}/revoke", a.revoke)
}

// certificate is one as it is shown. Times are Unix seconds.
type certificate struct {
	Serial    string `json:"serial"`
	IssuedAt  int64  `json:"issued_at"`
	ExpiresAt int64  `json:"expires_at"`
	UsedAt    *int64 `json:"used_at"`
}

// enrolment is what is on record of a data plane.
type enrolment struct {
	Identity     string        `json:"identity,omitempty"`
	Environment  string        `json:"environment"`
	Name         string        `json:"name"`
	State        string        `json:"state"` // enrolled, expired, revoked, unreadable
	Certificates []certificate `json:"certificates"`
	JoinedAt     *int64        `json:"joined_at"`
	Token        string        `json:"join_token,omitempty"`
	RenewedAt    *int64        `json:"renewed_at"`
	RevokedAt    *int64        `json:"revoked_at"`
	Reason       string        `json:"revoked_reason,omitempty"`
	Revoked      []certificate `json:"revoked_certificates"`
	Problem      string        `json:"problem,omitempty"`
}

func (a *API) list(r *rest.Request) (rest.Answer, error) {
	data := []enrolment{}
	environment := r.URL.Query().Get("environment")
	for _, n := range a.deps.Registry.List() {
		if shown := shown(n, time.Now()); environment == "" || shown.Environment == environment {
			data = append(data, shown)
		}
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": data, "next": nil}), nil
}

func shown(n nodes.Node, now time.Time) enrolment {
	e := enrolment{
		Identity: n.Identity, Token: n.Token, Reason: n.Reason, Problem: n.Problem, JoinedAt: at(n.JoinedAt), RenewedAt: at(n.RenewedAt),
		RevokedAt: at(n.RevokedAt), Certificates: certificates(n.Certificates), Revoked: certificates(n.Revoked),
	}
	e.Environment, e.Name = split(n.Key)
	switch {
	case n.Problem != "":
		e.State = "unreadable"
	case len(n.Living(now)) > 0:
		e.State = "enrolled"
	case n.RevokedAt > 0:
		e.State = "revoked"
	default:
		e.State = "expired"
	}
	return e
}

func certificates(list []nodes.Certificate) []certificate {
	shown := []certificate{}
	for _, c := range list {
		shown = append(shown, certificate{c.Serial, c.IssuedAt, c.NotAfter, at(c.UsedAt)})
	}
	return shown
}

// at is a time, null when there is none.
func at(seconds int64) *int64 {
	if seconds == 0 {
		return nil
	}
	return &seconds
}
