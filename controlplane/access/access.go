// Package access knows who may administer what: roles, where each holds, and what a caller's grants come to. It
// makes tokens and holds back those who guess them.
//
// It reads no request and no database: who a token belongs to is found by controlplane/admin/rbac, and what a path
// asks for is said there too. Whoever holds no grant for something may not do it; there are no rules that forbid.
package access

import (
	"cmp"
	"slices"
)

// Role is what somebody may do, where a [Grant] says where.
type Role string

// The roles, each with all that the ones above it have in the same place; keyring-admin stands beside them and
// has the ring and the journal alone.
const (
	Viewer       Role = "viewer"        // read entities
	Editor       Role = "editor"        // change entities, push and export the configuration
	KeyringAdmin Role = "keyring-admin" // the keyring, re-encryption, Kubernetes clusters' keys and the journal
	SuperAdmin   Role = "super-admin"   // everything: workspaces, users, licenses, the nodes
)

// Roles lists all of them.
func Roles() []Role { return []Role{Viewer, Editor, KeyringAdmin, SuperAdmin} }

// Says what a role is for, for those who choose one.
func (r Role) Says() string {
	switch r {
	case Viewer:
		return "Read the entities of a workspace"
	case Editor:
		return "Read and change the entities of a workspace, push and export its configuration"
	case KeyringAdmin:
		return "The keyring, re-encryption, and the journal, which names what was done in every workspace"
	case SuperAdmin:
		return "Everything, users and workspaces among it"
	}
	return ""
}

// Known reports whether there is such a role.
func (r Role) Known() bool { return slices.Contains(Roles(), r) }

// Everywhere is the place of a grant that holds in all workspaces, also those that are yet to come.
const Everywhere = "*"

// Bound reports whether the role may be given for one workspace. What the others are about belongs to none.
func (r Role) Bound() bool { return r == Viewer || r == Editor }

// Grant is a role in a place.
type Grant struct {
	Role      Role   `json:"role"`
	Workspace string `json:"workspace"` // id, or Everywhere
}

// Compare orders grants.
func (g Grant) Compare(other Grant) int {
	return cmp.Or(cmp.Compare(g.Workspace, other.Workspace), cmp.Compare(g.Role, other.Role))
}

// Valid reports whether the role exists and may be given there.
func (g Grant) Valid() bool {
	return g.Role.Known() && g.Workspace != "" && (g.Role.Bound() || g.Workspace == Everywhere)
}

// Action is what somebody wants to do, in the words in which a refusal names it.
type Action string

// The actions.
const (
	Read   Action = "read"
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Caller is somebody who has shown who they are. The zero value may do nothing.
type Caller struct {
	ID     string // of the user; "" for what is no user
	Name   string
	grants []Grant
	host   bool
	first  bool
}

// NewCaller names a user with all their grants. Those that are not valid count for nothing.
func NewCaller(id, name string, grants []Grant) Caller {
	return Caller{ID: id, Name: name, grants: slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool { return !g.Valid() })}
}

// HostName is how the journal names whoever uses the token of the host.
const HostName = "admin_token_file"

// Host is whoever can read the token file of the machine: they may name users and mend the keyring, so that
// nobody is locked out for good, and nothing else.
func Host() Caller { return Caller{Name: HostName, host: true} }

// First is whoever has the one-time token: they may make the first user and do nothing else.
func First() Caller { return Caller{Name: "one-time token", first: true} }

// IsFirst reports whether the caller is [First].
func (c Caller) IsFirst() bool { return c.first }

// Super reports whether the caller may do everything.
func (c Caller) Super() bool { return c.has(SuperAdmin, Everywhere) }

// Keyring reports whether the caller may use the keyring.
func (c Caller) Keyring() bool { return c.host || c.Super() || c.has(KeyringAdmin, Everywhere) }

// Journal reports whether the caller may read the journal.
func (c Caller) Journal() bool { return c.Super() || c.has(KeyringAdmin, Everywhere) }

// Anywhere reports whether the caller may do something to entities of at least one workspace.
func (c Caller) Anywhere(action Action) bool {
	return slices.ContainsFunc(c.grants, func(g Grant) bool { return c.May(action, g.Workspace) })
}

// Users reports whether the caller may say who may what.
func (c Caller) Users() bool { return c.host || c.Super() }

// May reports whether the caller may do something to entities of a workspace; Everywhere asks for what belongs to
// no workspace or to all of them.
func (c Caller) May(action Action, workspace string) bool {
	switch {
	case workspace == "":
		return false
	case c.Super(), c.has(Editor, workspace):
		return true
	}
	return action == Read && c.has(Viewer, workspace)
}

// has reports whether the caller holds a role in a place.
func (c Caller) has(role Role, workspace string) bool {
	return slices.ContainsFunc(c.grants, func(g Grant) bool {
		return g.Role == role && (g.Workspace == Everywhere || g.Workspace == workspace)
	})
}
