// Package keks is the part of the Admin API that makes, shows, rotates and retires the key-encryption keys of Kubernetes
// clusters (/kms/keys). What they are, and what is recorded of them, is controlplane/keks's; whom they serve,
// controlplane/kmsservice's.
package keks

import (
	"context"
	"net/http"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

// Keks is what the API stands on; controlplane/keks says what each method promises.
type Keks interface {
	Create(ctx context.Context, name string, rotateEvery time.Duration) (keks.Changed, error)
	Rotate(ctx context.Context, name string) (keks.Changed, error)
	SetRotateEvery(ctx context.Context, name string, period time.Duration) error
	Retire(ctx context.Context, name, keyID string, early bool) error
	End(ctx context.Context, name string) error
	List(ctx context.Context) ([]keks.Status, error)
	Show(ctx context.Context, name string) (keks.Status, error)
}

// API answers for KEKs.
type API struct{ keks Keks }

// New makes the API.
func New(k Keks) *API { return &API{k} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	const all, one = "/kms/keys", "/kms/keys/{kek}"
	change := func(method, path, what string, handler rest.Handler) {
		t.Handle(method, path, rest.Demanding(what, handler))
	}
	t.Handle("GET", all, a.list)
	t.Handle("GET", one, a.show)
	change("POST", all, "making a KEK", a.create)
	change("PATCH", one, "changing a KEK", a.change)
	change("DELETE", one, "ending a KEK", a.end)
	change("POST", one+"/rotate", "rotating a KEK", a.rotate)
	change("POST", one+"/{key_id}/retire", "retiring a key", a.retire)
}

func (a *API) list(r *rest.Request) (rest.Answer, error) {
	found, err := a.keks.List(r.Context())
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	data := make([]kek, len(found))
	for i, s := range found {
		data[i] = shown(s)
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": data, "next": nil}), nil
}

func (a *API) show(r *rest.Request) (rest.Answer, error) {
	return a.shows(r, http.StatusOK, r.Param(0))
}

func (a *API) shows(r *rest.Request, status int, name string) (rest.Answer, error) {
	s, err := a.keks.Show(r.Context(), name)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return rest.JSON(status, shown(s)), nil
}

func (a *API) create(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "name", "rotate_every")
	if err != nil {
		return rest.Answer{}, err
	}
	if given["name"] == "" {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "name: required field missing; it is what the certificates of the cluster's plugins begin with, before the first dot")
	}
	every, _, err := period(given)
	if err != nil {
		return rest.Answer{}, err
	}
	c, err := a.keks.Create(r.Context(), given["name"], every)
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return a.shows(r, http.StatusCreated, c.Name)
}

func (a *API) change(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "rotate_every")
	if err != nil {
		return rest.Answer{}, err
	}
	every, said, err := period(given)
	if err == nil && !said {
		err = rest.Refuse(http.StatusBadRequest, "rotate_every: required field missing; seconds, or 0 for never")
	}
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.keks.SetRotateEvery(r.Context(), r.Param(0), every); err != nil {
		return rest.Answer{}, plainly(err)
	}
	return a.shows(r, http.StatusOK, r.Param(0))
}

// rotate says from when on objects may be rewritten.
func (a *API) rotate(r *rest.Request) (rest.Answer, error) {
	if _, err := r.Said(maxBody); err != nil {
		return rest.Answer{}, err
	}
	c, err := a.keks.Rotate(r.Context(), r.Param(0))
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return rest.JSON(http.StatusOK, map[string]any{
		"name": c.Name, "key_id": c.KeyID, "former_key_id": c.Former, "rewrite_from": unix(c.SafeAt),
		"message": "rewrite the cluster's objects from " + stamp(c.SafeAt) + " on, when every API server has seen the key, and not before; the former key goes on unwrapping until it is retired",
	}), nil
}

func (a *API) retire(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "unused", "early")
	if err != nil {
		return rest.Answer{}, err
	}
	name, keyID := r.Param(0), r.Param(1)
	if err := unused(given, keyID); err != nil {
		return rest.Answer{}, err
	}
	early, err := given.Flag("early")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.keks.Retire(r.Context(), name, keyID, early); err != nil {
		return rest.Answer{}, plainly(err)
	}
	return a.shows(r, http.StatusOK, name)
}

func (a *API) end(r *rest.Request) (rest.Answer, error) {
	given, err := r.Said(maxBody, "unused")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := unused(given, "all"); err != nil {
		return rest.Answer{}, err
	}
	if err := a.keks.End(r.Context(), r.Param(0)); err != nil {
		return rest.Answer{}, plainly(err)
	}
	return rest.NoContent(), nil
}

// plainly names what cannot be read as a KEK's, and not as the whole database's.
func plainly(err error) error {
	if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "keks" {
		return err
	}
	return rest.Refuse(http.StatusServiceUnavailable, "%s", fault.Text(err))
}
