package rbac

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

// Catalog is everything that handlers read and write; controlplane/catalog says what each method promises.
type Catalog interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Update(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Upsert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Delete(ctx context.Context, at catalog.Address) error
	Workspace(ctx context.Context, name string) (id string, err error)
	Apply(ctx context.Context, workspace string, set catalog.Set, options catalog.ApplyOptions) (catalog.Diff, error)
	Dump(ctx context.Context, workspace string, tags []string) (catalog.Dump, error)
	Schema() *schema.Schema
}

const (
	tableWorkspaces  = "workspaces"
	tableAuthorities = "ca_certificates"
)

// Scope is a catalog that every call of a request goes through: it asks, with the id of the workspace that is about to
// be touched, whether the caller of the context may. So it does not matter by which path, name, unique key, tag or
// offset a handler came there.
type Scope struct{ inner Catalog }

// NewScope makes a Scope.
func NewScope(inner Catalog) *Scope { return &Scope{inner} }

// Schema is what the entities are.
func (s *Scope) Schema() *schema.Schema { return s.inner.Schema() }

// allow refuses what the caller may not do to a table of a workspace.
func (s *Scope) allow(ctx context.Context, action access.Action, table, workspace string) error {
	caller, asked := access.Of(ctx)
	e, found := s.Schema().Entity(table)
	allowed := false
	switch {
	case !found, e.Internal && !e.Workspaced: // users among them: /rbac has its own way to them
	case e.Workspaced:
		allowed = caller.May(action, workspace)
	case table == tableAuthorities && action == access.Read:
		allowed = caller.Anywhere(access.Read) // every workspace may refer to them
	case table == tableAuthorities || action == access.Read:
		allowed = caller.May(action, access.Everywhere)
	default: // workspaces, environments, licenses
		allowed = caller.Super()
	}
	if allowed {
		return nil
	}
	return Refuse(caller, asked)
}

// Workspace finds a workspace. Callers who may not read it learn nothing of it, not even whether it is there.
func (s *Scope) Workspace(ctx context.Context, name string) (id string, err error) {
	id, err = s.inner.Workspace(ctx, name)
	caller, asked := access.Of(ctx)
	if name == "" || caller.May(access.Read, access.Everywhere) { // the default one is known to everybody
		return id, err
	}
	problem, ok := errors.AsType[*catalog.Problem](err)
	if missing := ok && problem.Code == catalog.NotFound; missing || err == nil && !caller.May(access.Read, id) {
		return "", Refuse(caller, asked)
	}
	return id, err
}

// Get reads one entity. Who may read and not write gets no secrets with it.
func (s *Scope) Get(ctx context.Context, at catalog.Address) (proto.Message, error) {
	if at.Table == tableWorkspaces {
		id, err := s.Workspace(ctx, at.Key)
		if err != nil {
			return nil, err
		}
		at.Key = id
		return s.inner.Get(ctx, at)
	}
	if err := s.allow(ctx, access.Read, at.Table, at.Workspace); err != nil {
		return nil, err
	}
	m, err := s.inner.Get(ctx, at)
	if err != nil {
		return nil, err
	}
	return m, s.veil(ctx, at.Table, at.Workspace, m)
}

// List reads a page. Of workspaces it holds those that the caller may read.
func (s *Scope) List(ctx context.Context, query catalog.Query) (catalog.Page, error) {
	caller, _ := access.Of(ctx)
	if query.Table == tableWorkspaces && !caller.May(access.Read, access.Everywhere) {
		return s.known(ctx, caller, query)
	}
	if err := s.allow(ctx, access.Read, query.Table, query.Workspace); err != nil {
		return catalog.Page{}, err
	}
	page, err := s.inner.List(ctx, query)
	for _, m := range page.Entities {
		err = errors.Join(err, s.veil(ctx, query.Table, query.Workspace, m))
	}
	return page, err
}

// known lists the workspaces that a caller may read. It pages over what is left, so that no offset tells of others.
func (s *Scope) known(ctx context.Context, caller access.Caller, query catalog.Query) (catalog.Page, error) {
	size := query.Size
	query.Size = 0
	all, err := s.inner.List(ctx, query)
	if err != nil {
		return catalog.Page{}, err
	}
	e, _ := s.Schema().Entity(tableWorkspaces)
	page := catalog.Page{Entities: slices.DeleteFunc(all.Entities, func(m proto.Message) bool { return !caller.May(access.Read, e.ID(m)) })}
	if size > 0 && len(page.Entities) > size {
		page.Entities, page.More = page.Entities[:size], true
	}
	if len(page.Entities) > 0 {
		page.Last = e.ID(page.Entities[len(page.Entities)-1])
	}
	return page, nil
}

// veil empties the secrets of an entity for a caller who may not write it.
func (s *Scope) veil(ctx context.Context, table, workspace string, m proto.Message) error {
	caller, _ := access.Of(ctx)
	e, _ := s.Schema().Entity(table)
	if !e.Workspaced {
		workspace = access.Everywhere
	}
	if caller.May(access.Update, workspace) {
		return nil
	}
	return s.Schema().Secrets(e, m, func(string, string) (string, error) { return veiled, nil })
}

// veiled stands where a secret would be shown.
const veiled = "REDACTED"

// Insert makes an entity.
func (s *Scope) Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error) {
	if err := s.allow(ctx, access.Create, at.Table, at.Workspace); err != nil {
		return nil, err
	}
	return s.inner.Insert(ctx, at, doc)
}

// Update changes an entity.
func (s *Scope) Update(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error) {
	if err := s.allow(ctx, access.Update, at.Table, at.Workspace); err != nil {
		return nil, err
	}
	return s.inner.Update(ctx, at, doc)
}

// Upsert makes an entity what a document says.
func (s *Scope) Upsert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error) {
	if err := s.allow(ctx, access.Update, at.Table, at.Workspace); err != nil {
		return nil, err
	}
	return s.inner.Upsert(ctx, at, doc)
}

// Delete removes an entity.
func (s *Scope) Delete(ctx context.Context, at catalog.Address) error {
	if err := s.allow(ctx, access.Delete, at.Table, at.Workspace); err != nil {
		return err
	}
	return s.inner.Delete(ctx, at)
}

// Apply makes a workspace hold a set. What belongs to no workspace may stand in it and may not change by it, unless
// the caller may change that in every workspace.
func (s *Scope) Apply(ctx context.Context, workspace string, set catalog.Set, options catalog.ApplyOptions) (catalog.Diff, error) {
	caller, asked := access.Of(ctx)
	if !caller.May(access.Update, workspace) {
		return catalog.Diff{}, Refuse(caller, asked)
	}
	options.Allow = func(entry catalog.Entry) error { return s.allow(ctx, access.Update, entry.Table, workspace) }
	return s.inner.Apply(ctx, workspace, set, options)
}

// Dump reads all of a workspace with its secrets, which only those may who could also change it.
func (s *Scope) Dump(ctx context.Context, workspace string, tags []string) (catalog.Dump, error) {
	caller, asked := access.Of(ctx)
	if !caller.May(access.Update, workspace) {
		return catalog.Dump{}, Refuse(caller, asked)
	}
	return s.inner.Dump(ctx, workspace, tags)
}

var _ Catalog = (*catalog.Catalog)(nil)
