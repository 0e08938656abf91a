package rbac

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// grantsOf are a user's roles as Kong lists them, with the workspace in which each holds.
func (c *Control) grantsOf(ctx context.Context, u user) map[string]any {
	roles := make([]map[string]any, len(u.Grants))
	for i, g := range u.Grants {
		roles[i] = role(g.Role)
		roles[i]["workspace"], roles[i]["workspace_name"] = g.Workspace, g.Workspace
		if m, err := c.catalog.Get(ctx, catalog.Address{Table: tableWorkspaces, Key: g.Workspace}); err == nil { // else it is gone, or all of them
			roles[i]["workspace_name"] = m.(*configv1.Workspace).GetName()
		}
	}
	return map[string]any{"roles": roles, "user": u.shown()}
}

func (c *Control) showGrants(r *rest.Request) (rest.Answer, error) {
	u, err := c.one(r.Context(), r.Param(0))
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, c.grantsOf(r.Context(), u)), nil
}

func (c *Control) grant(r *rest.Request) (rest.Answer, error) {
	grants, err := c.asked(r)
	if err != nil {
		return rest.Answer{}, err
	}
	u, err := c.change(r.Context(), r.Param(0), "rbac.grant", func(u *user) error {
		u.Grants = append(u.Grants, grants...)
		return nil
	})
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusCreated, c.grantsOf(r.Context(), u)), nil
}

func (c *Control) revoke(r *rest.Request) (rest.Answer, error) {
	grants, err := c.asked(r)
	if err != nil {
		return rest.Answer{}, err
	}
	_, err = c.change(r.Context(), r.Param(0), "rbac.revoke", func(u *user) error {
		u.Grants = slices.DeleteFunc(u.Grants, func(g access.Grant) bool { return slices.Contains(grants, g) })
		return nil
	})
	return rest.NoContent(), err
}

// asked reads roles out of a body, and where they are to hold: in the workspace of the path, in that of the member
// "workspace", or with "*" in all of them. Roles that belong to no workspace hold everywhere in any case.
func (c *Control) asked(r *rest.Request) ([]access.Grant, error) {
	doc, err := read(r, "roles", "workspace")
	if err != nil {
		return nil, err
	}
	place, err := r.Resolve()
	if err != nil {
		return nil, err
	}
	if name, _ := doc["workspace"].(string); name == access.Everywhere {
		place = access.Everywhere
	} else if name != "" {
		if place, err = c.catalog.Workspace(r.Context(), name); err != nil {
			return nil, err
		}
	}
	var grants []access.Grant
	for _, word := range words(doc["roles"]) {
		g := access.Grant{Role: access.Role(word), Workspace: place}
		if !g.Role.Known() {
			return nil, schema.FieldViolation("roles", fmt.Sprintf("no role '%s'; there are %v", word, access.Roles()))
		}
		if !g.Role.Bound() {
			g.Workspace = access.Everywhere
		}
		grants = append(grants, g)
	}
	if len(grants) == 0 {
		return nil, schema.FieldViolation("roles", "required field missing")
	}
	return grants, nil
}

// words are the roles of a list, or of a text with commas, as Kong takes them.
func words(value any) (names []string) {
	switch value := value.(type) {
	case string:
		for word := range strings.SplitSeq(value, ",") {
			names = append(names, strings.TrimSpace(word))
		}
	case []any:
		for _, one := range value {
			names = append(names, words(one)...)
		}
	}
	return names
}

// role is a role as Kong shows one. Its id is made of its name and is the same everywhere.
func role(r access.Role) map[string]any {
	return map[string]any{
		"id": uuid.NewSHA1(space(), []byte("role/"+r)).String(), "name": string(r), "comment": r.Says(), "is_default": false, "created_at": 0,
	}
}

// space is the name space of ids that are made here.
func space() uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceURL, []byte("keepgate:rbac")) }

func roleOf(key string) (access.Role, error) {
	for _, r := range access.Roles() {
		if key == string(r) || key == role(r)["id"] {
			return r, nil
		}
	}
	return "", rest.NotFound()
}

func (c *Control) listRoles(*rest.Request) (rest.Answer, error) {
	data := []map[string]any{}
	for _, r := range access.Roles() {
		data = append(data, role(r))
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": data, "next": nil}), nil
}

func (c *Control) showRole(r *rest.Request) (rest.Answer, error) {
	found, err := roleOf(r.Param(0))
	return rest.JSON(http.StatusOK, role(found)), err
}

// endpoints says in Kong's words about what a role is. The words of a grant, and not these, decide.
func (c *Control) endpoints(r *rest.Request) (rest.Answer, error) {
	found, err := roleOf(r.Param(0))
	if err != nil {
		return rest.Answer{}, err
	}
	actions, endpoint := []string{"create", "delete", "read", "update"}, "*"
	switch found {
	case access.Viewer:
		actions = []string{"read"}
	case access.KeyringAdmin:
		endpoint = "/keyring/*"
	}
	data := []map[string]any{{
		"actions": actions, "endpoint": endpoint, "negative": false, "workspace": access.Everywhere,
		"role": map[string]any{"id": role(found)["id"]}, "comment": nil, "created_at": 0,
	}}
	return rest.JSON(http.StatusOK, map[string]any{"data": data, "next": nil}), nil
}

// noEntities: grants are for workspaces and never for single entities.
func (c *Control) noEntities(r *rest.Request) (rest.Answer, error) {
	_, err := roleOf(r.Param(0))
	return rest.JSON(http.StatusOK, map[string]any{"data": []any{}, "next": nil}), err
}
