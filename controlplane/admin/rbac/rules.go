package rbac

import (
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/schema"
)

// ActionOf is what a method does, in the words of a refusal.
func ActionOf(method string) access.Action {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return access.Read
	case http.MethodPost:
		return access.Create
	case http.MethodDelete:
		return access.Delete
	}
	return access.Update
}

// Admit refuses a caller who may not use a path at all, before its handler acts. What a handler then does to
// entities is held to the caller's workspaces again by [Scope], whichever way the handler came by them.
//
// A path that no rule names is for super-admins alone, so that a new room of the API is closed until it is thought of.
func Admit(caller access.Caller, action access.Action, pattern string, entities *schema.Schema, workspace func() (string, error)) error {
	there := func(action access.Action) (bool, error) {
		id, err := workspace()
		return err == nil && caller.May(action, id), err
	}
	var allowed bool
	var err error
	switch first, second := heads(pattern); {
	case caller.Super(), open(first, second, action) && !caller.IsFirst():
		return nil
	case pattern == "/rbac/users" && action == access.Create && caller.IsFirst():
		return nil
	case first == "rbac":
		allowed = caller.Users()
	case first == "keyring", first == "kms":
		allowed = caller.Keyring()
	case first == "audit":
		allowed = caller.Journal()
	case first == "encryption" && action == access.Read:
		allowed = caller.May(access.Read, access.Everywhere) || caller.Keyring()
		if e, found := entities.Entity(second); !allowed && found && e.Workspaced && !e.Internal { // how one row of the workspace rests
			allowed, err = there(action)
		}
	case first == "clustering" && admits(second): // for super-admins alone
	case first == "environments" && workspaced(entities, third(pattern)): // what of the workspace belongs to one
		allowed, err = there(action)
	case first == "environments":
		allowed = action == access.Read && caller.May(access.Read, access.Everywhere)
	case first == "clustering", first == "metrics", first == "license", first == "debug":
		allowed = action == access.Read && (caller.May(access.Read, access.Everywhere) || caller.Keyring())
	case first == "workspaces":
		allowed = action == access.Read && caller.Anywhere(access.Read) // and of those that the caller knows
	case first == "ca_certificates" && action == access.Read:
		allowed = caller.Anywhere(access.Read)
	case first == "ca_certificates", first == "licenses" && action == access.Read:
		allowed = caller.May(action, access.Everywhere)
	case first == "config" && action == access.Read:
		allowed, err = there(access.Update) // with secrets, in clear
	case first == "config":
		allowed = caller.Anywhere(access.Update) // the file may name its workspace
	case first == "", first == "tags", first == "proxy-cache", workspaced(entities, first):
		allowed, err = there(action)
	}
	if err == nil && !allowed {
		err = Refuse(caller, action)
	}
	return err
}

// Refuse says to a caller that they may not, in Kong's words.
func Refuse(caller access.Caller, action access.Action) error {
	return rest.Refuse(http.StatusForbidden, "%s, you do not have permissions to %s this resource", caller.Name, action)
}

// open are the paths that say the same to everybody who is somebody: what the program is, not what it holds.
func open(first, second string, action access.Action) bool {
	switch first {
	case "status", "endpoints":
		return action == access.Read
	case "schemas":
		return true // validating reads no entity
	case "plugins":
		return action == access.Read && (second == "enabled" || second == "schema")
	}
	return false
}

// admits reports whether a path below /clustering is about who may be a data plane: whoever lets one in has it given all of an
// environment's secrets.
func admits(second string) bool {
	return second == "authorities" || second == "enrolments" || second == "join-tokens"
}

// workspaced reports whether a path begins with a collection whose entities belong to workspaces.
func workspaced(entities *schema.Schema, path string) bool {
	for _, e := range entities.Entities() {
		if e.Path == path && path != "" {
			return e.Workspaced && !e.Internal
		}
	}
	return false
}

// third is the third element of a pattern, "" where there is none.
func third(pattern string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	_, rest, _ = strings.Cut(rest, "/")
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}

// heads are the first two elements of a pattern.
func heads(pattern string) (first, second string) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	second, _, _ = strings.Cut(rest, "/")
	return first, second
}
