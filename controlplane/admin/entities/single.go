package entities

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

// change is one of the catalog's writes.
type change func(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)

// address says which entity a path means.
func (a *API) address(r *rest.Request, p place) (at catalog.Address, err error) {
	at.Table = p.e.Table
	if at.Workspace, err = r.Resolve(); err != nil {
		return at, err
	}
	if p.parent == nil {
		at.Key = r.Param(0)
		return at, nil
	}
	at.Parent = &catalog.Parent{Table: p.parent.Table, Key: r.Param(0)}
	at.Key = r.Param(1)
	return at, nil
}

func (a *API) show(status int, e *schema.Entity, m proto.Message) rest.Answer {
	return rest.Answer{Status: status, Body: a.schema.Encode(e, m)}
}

func (a *API) get(r *rest.Request, p place) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	m, err := a.catalog.Get(r.Context(), at)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return a.show(http.StatusOK, p.e, m), nil
}

// plainly says of what is not there no more than Kong does where nothing was to be changed.
func plainly(err error) error {
	if problem, ok := errors.AsType[*catalog.Problem](err); ok && problem.Code == catalog.NotFound {
		return rest.NotFound()
	}
	return err
}

func (a *API) insert(r *rest.Request, p place) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	at.Key = ""
	doc, err := r.Document(a.schema, p.e)
	if err != nil {
		return rest.Answer{}, err
	}
	m, err := a.apply(r, p.e, at, doc, a.catalog.Insert)
	if err != nil {
		return rest.Answer{}, err
	}
	return a.show(http.StatusCreated, p.e, m), nil
}

func (a *API) write(r *rest.Request, p place, write change) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	return a.writeAt(r, p, at, write)
}

func (a *API) writeAt(r *rest.Request, p place, at catalog.Address, write change) (rest.Answer, error) {
	e := p.e
	if !addressable(p, at.Key) {
		if e.Table == "licenses" && r.Method == http.MethodPut {
			return rest.Answer{}, rest.Coded(1, "invalid primary key", "invalid primary key: a license is put under a UUID of your choice, /licenses/<uuid>")
		}
		return rest.Answer{}, rest.NotFound()
	}
	doc, err := r.Document(a.schema, e)
	if err != nil {
		return rest.Answer{}, err
	}
	m, err := a.apply(r, e, at, doc, write)
	if err != nil {
		return rest.Answer{}, err
	}
	return a.show(http.StatusOK, e, m), nil
}

// addressable: an entity without an endpoint key is found by its id alone, a certificate also by a name, a group of a
// consumer below that.
func addressable(p place, key string) bool {
	foreign := ""
	if p.key != nil {
		foreign = p.key.Field.Name
	}
	if p.e.Key(foreign) != nil || p.e.Table == "certificates" {
		return true
	}
	_, err := uuid.Parse(key)
	return err == nil && len(key) == 36
}

func (a *API) apply(r *rest.Request, e *schema.Entity, at catalog.Address, doc schema.Document, write change) (proto.Message, error) {
	name, _ := doc["name"].(string)
	if e.Table == "workspaces" && (a.table.Reserved(name) || a.table.Reserved(at.Key)) {
		return nil, schema.FieldViolation("name", "must not be a name that paths of the Admin API begin with")
	}
	m, err := write(r.Context(), at, doc)
	if err == nil {
		a.wake()
	}
	return m, err
}

func (a *API) remove(r *rest.Request, p place) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.catalog.Delete(r.Context(), at); err != nil {
		return rest.Answer{}, plainly(err)
	}
	a.wake()
	return rest.NoContent(), nil
}

// parentOf reads or writes the entity that a child's foreign key names.
func (a *API) parentOf(r *rest.Request, p place, parent *schema.Entity, key *schema.ForeignKey, write change) (rest.Answer, error) {
	at, err := a.address(r, p)
	if err != nil {
		return rest.Answer{}, err
	}
	child, err := a.catalog.Get(r.Context(), at)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	doc, err := a.schema.Document(p.e, child)
	if err != nil {
		return rest.Answer{}, err
	}
	reference, _ := doc[key.Field.Name].(map[string]any)
	id, _ := reference["id"].(string)
	if id == "" {
		return rest.Answer{}, rest.NotFound()
	}
	at = catalog.Address{Table: parent.Table, Workspace: at.Workspace, Key: id}
	if write != nil {
		return a.writeAt(r, place{e: parent}, at, write)
	}
	m, err := a.catalog.Get(r.Context(), at)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return a.show(http.StatusOK, parent, m), nil
}
