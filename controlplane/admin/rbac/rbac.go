// Package rbac is access control of the Admin API: it finds out who calls, says what a path asks for, holds every read
// and write of entities to the caller's workspaces, and is /rbac, where users are named and given roles.
//
// What a role may is controlplane/access's. Roles are fixed and users belong to no workspace: a grant says where a role
// holds. The paths and their answers are Kong's where Kong has them.
package rbac

import (
	"context"
	"log/slog"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

// Journal is where changes of users are recorded before they are made.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Users is where users rest, and what workspaces there are; controlplane/catalog says what each method promises.
type Users interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Change(ctx context.Context, at catalog.Address, edit func(present proto.Message) (schema.Document, error)) (proto.Message, error)
	Delete(ctx context.Context, at catalog.Address) error
	Workspace(ctx context.Context, name string) (id string, err error)
}

// Options tunes access control.
type Options struct {
	Header    string       // in which tokens are sent, beside Authorization; default Kong-Admin-Token
	HostToken secret.Bytes // the admin token of this machine: for its own users and for /rbac and /keyring alone
	FirstFile string       // where the one-time token lies that makes the first user; "" makes none
	Journal   Journal      // nil: nothing is recorded
	Log       *slog.Logger // default: discard
}

// Control is access control. It is safe for concurrent use.
type Control struct {
	catalog  Users
	options  Options
	failures *access.Failures
	host     hash // of HostToken; zero when there is none

	mu    sync.Mutex
	first hash // guarded by mu; of the one-time token; zero when there is none
}

// New makes access control over a catalog, the real one and no [Scope].
func New(c Users, options Options) *Control {
	if options.Header == "" {
		options.Header = kongHeader
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	control := &Control{catalog: c, options: options, failures: access.NewFailures()}
	options.HostToken.Reveal(func(data []byte) {
		if len(data) > 0 {
			control.host = hashOf(string(data))
			control.failures.Accepted(control.host) // whoever guesses on this machine must not hold up the one who mends
		}
	})
	return control
}

// Mount adds all paths.
func (c *Control) Mount(t *rest.Table) {
	t.Handle("GET", "/rbac/users", c.listUsers)
	t.Handle("POST", "/rbac/users", c.makeUser)
	t.Handle("GET", "/rbac/users/{user}", c.showUser)
	t.Handle("PATCH", "/rbac/users/{user}", c.changeUser)
	t.Handle("DELETE", "/rbac/users/{user}", c.removeUser)
	t.Handle("POST", "/rbac/users/{user}/token", c.renewToken)
	t.Handle("GET", "/rbac/users/{user}/roles", c.showGrants)
	t.Handle("POST", "/rbac/users/{user}/roles", c.grant)
	t.Handle("DELETE", "/rbac/users/{user}/roles", c.revoke)
	t.Handle("GET", "/rbac/roles", c.listRoles)
	t.Handle("GET", "/rbac/roles/{role}", c.showRole)
	t.Handle("GET", "/rbac/roles/{role}/endpoints", c.endpoints)
	t.Handle("GET", "/rbac/roles/{role}/entities", c.noEntities)
}
