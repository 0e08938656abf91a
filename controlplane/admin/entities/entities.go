// Package entities is the Admin API of everything the catalog holds: collections, nested collections, single
// entities, tags and schemas, with Kong's paths, pages and refusals.
//
// The paths come from the schema: a new entity needs nothing here. What a write means is the catalog's.
package entities

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

// Catalog is what the API reads and writes; controlplane/catalog says what each method promises.
type Catalog interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Update(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Upsert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Delete(ctx context.Context, at catalog.Address) error
}

// API answers for entities.
type API struct {
	catalog Catalog
	schema  *schema.Schema
	wake    func()
	table   *rest.Table
}

// New makes the API. wake is called after every write.
func New(c Catalog, s *schema.Schema, wake func()) *API {
	return &API{catalog: c, schema: s, wake: wake}
}

// place is where in the tree of paths an entity is addressed.
type place struct {
	e      *schema.Entity
	parent *schema.Entity     // nil at the top
	key    *schema.ForeignKey // of e, to parent
}

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	a.table = t
	for _, e := range a.schema.Entities() {
		if e.Internal {
			continue
		}
		if e.Path != "" {
			a.mountAt(t, "/"+e.Path, place{e: e})
		}
		for _, key := range e.Foreign {
			if parent, ok := a.schema.Entity(key.Table); ok && !parent.Internal && parent.Path != "" {
				a.mountBelow(t, e, parent, key)
			}
		}
	}
	a.mountTargets(t)
	a.mountGroups(t)
	a.mountPlugins(t)
	a.mountSchemas(t)
	t.Handle("GET", "/tags", a.tags)
	t.Handle("GET", "/tags/{tag}", a.tag)
	t.Handle("GET", "/workspaces/{workspaces}/meta", a.workspaceMeta)
}

// mountAt adds a collection and its entities.
func (a *API) mountAt(t *rest.Table, path string, p place) {
	t.Handle("GET", path, func(r *rest.Request) (rest.Answer, error) { return a.list(r, p) })
	t.Handle("POST", path, func(r *rest.Request) (rest.Answer, error) { return a.insert(r, p) })
	one := path + "/" + param(p.e)
	t.Handle("GET", one, func(r *rest.Request) (rest.Answer, error) { return a.get(r, p) })
	t.Handle("PUT", one, func(r *rest.Request) (rest.Answer, error) { return a.write(r, p, a.catalog.Upsert) })
	t.Handle("PATCH", one, func(r *rest.Request) (rest.Answer, error) { return a.write(r, p, a.catalog.Update) })
	t.Handle("DELETE", one, func(r *rest.Request) (rest.Answer, error) { return a.remove(r, p) })
}

// mountBelow adds the paths that a foreign key makes: children below the parent, the parent of a child.
func (a *API) mountBelow(t *rest.Table, e, parent *schema.Entity, key *schema.ForeignKey) {
	a.mountAt(t, "/"+parent.Path+"/"+param(parent)+"/"+e.Nested, place{e, parent, key})
	if e.Path == "" || e.Table == "snis" { // Kong has no /snis/{s}/certificate
		return
	}
	path, child := "/"+e.Path+"/"+param(e)+"/"+key.Field.Name, place{e: e}
	t.Handle("GET", path, func(r *rest.Request) (rest.Answer, error) { return a.parentOf(r, child, parent, key, nil) })
	t.Handle("PUT", path, func(r *rest.Request) (rest.Answer, error) {
		return a.parentOf(r, child, parent, key, a.catalog.Upsert)
	})
	t.Handle("PATCH", path, func(r *rest.Request) (rest.Answer, error) {
		return a.parentOf(r, child, parent, key, a.catalog.Update)
	})
}

// param is the parameter that addresses an entity; its value is a secret where the endpoint key is one.
func param(e *schema.Entity) string {
	if f := e.Field(e.EndpointKey); f != nil && f.Encrypted {
		return "{" + e.Table + "!}"
	}
	return "{" + e.Table + "}"
}
