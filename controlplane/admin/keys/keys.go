// Package keys is the keyring's part of the Admin API, as Kong Enterprise has it: list, generate, activate,
// recover. Keys and their states are controlplane/keyring's.
package keys

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Ring is the keyring; controlplane/keyring says what each method promises.
type Ring interface {
	Keys() keyring.Listing
	Status() keyring.Status
	Generate(ctx context.Context) (id string, material secret.Bytes, err error)
	Activate(ctx context.Context, id string, force bool) error
	Recover(ctx context.Context, privatePEM []byte, accept []string) (keyring.Recovered, error)
}

// API answers for the keyring.
type API struct {
	ring Ring // nil: the keyring is off
	wake func()
	log  *slog.Logger
}

// New makes the API. wake is called when a recovery may have made rows readable.
func New(ring Ring, wake func(), log *slog.Logger) *API { return &API{ring, wake, log} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/keyring", a.on(a.list))
	t.Handle("GET", "/keyring/active", a.on(a.active))
	t.Handle("POST", "/keyring/generate", a.on(a.generate))
	t.Handle("POST", "/keyring/activate", a.on(a.activate))
	t.Handle("POST", "/keyring/recover", a.on(a.recover))
}

func (a *API) on(handler rest.Handler) rest.Handler {
	if a.ring != nil {
		return handler
	}
	return func(*rest.Request) (rest.Answer, error) {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "the keyring is off; set keyring_enabled = on and start again")
	}
}

// listing is Kong's two members first, then what an operator wants to see.
type listing struct {
	IDs      []string            `json:"ids"`
	Active   *string             `json:"active"` // null when it is not usable
	State    string              `json:"state"`
	Strategy string              `json:"strategy"`
	Memory   string              `json:"memory"`
	Keys     []keyring.KeyStatus `json:"keys"`
	Warnings []string            `json:"warnings"`
}

func (a *API) list(*rest.Request) (rest.Answer, error) {
	held, status := a.ring.Keys(), a.ring.Status()
	l := listing{
		IDs: held.IDs, State: status.State, Strategy: status.Strategy, Memory: "locked", Keys: status.Keys, Warnings: []string{},
	}
	if held.Active != "" {
		l.Active = &held.Active
	}
	if !status.MemoryLocked {
		l.Memory = "may be swapped"
	}
	l.Warnings = append(l.Warnings, status.Warnings...)
	return rest.JSON(http.StatusOK, l), nil
}

func (a *API) active(*rest.Request) (rest.Answer, error) {
	if held := a.ring.Keys(); held.Active != "" {
		return rest.JSON(http.StatusOK, map[string]any{"id": held.Active}), nil
	}
	id := a.ring.Status().Active
	if id == "" {
		id = "none"
	}
	return rest.Answer{}, fault.Newf(fault.Unavailable, "admin.keyring", "key/"+id, "it is the active key and its material is missing")
}

// generate shows the material this once: it is the operator's own backup.
func (a *API) generate(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("making a key, which shows its material,"); err != nil {
		return rest.Answer{}, err
	}
	id, material, err := a.ring.Generate(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	a.log.InfoContext(r.Context(), "keyring: a key was made", "id", id)
	body := []byte(`{"id":"` + id + `","key":"`) // eight letters and digits
	defer material.Wipe()
	material.Reveal(func(data []byte) { body = base64.StdEncoding.AppendEncode(body, data) })
	return rest.Answer{Status: http.StatusCreated, Body: append(body, `"}`...)}, nil
}

func (a *API) activate(r *rest.Request) (rest.Answer, error) {
	id, err := r.Argument("key")
	if err != nil {
		return rest.Answer{}, err
	}
	if len(id) == 0 {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "key: required field missing; it is the id of a key, as GET /keyring lists them")
	}
	if err := a.ring.Activate(r.Context(), string(id), false); err != nil {
		return rest.Answer{}, err
	}
	a.log.InfoContext(r.Context(), "keyring: a key was activated", "id", string(id)) // it exists, so it is an id
	return rest.NoContent(), nil
}

func (a *API) recover(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("recovering keys"); err != nil {
		return rest.Answer{}, err
	}
	const name = "recovery_private_key"
	private, err := r.Argument(name)
	if err != nil {
		return rest.Answer{}, err
	}
	if len(private) == 0 {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "%s: required field missing; send it as curl -F %s=@key.pem", name, name)
	}
	result, err := a.ring.Recover(r.Context(), private, nil)
	clear(private)
	if err != nil {
		return rest.Answer{}, err
	}
	a.wake()
	return rest.JSON(http.StatusOK, map[string]any{
		"message":   fmt.Sprintf("successfully recovered %d keys", len(result.Recovered)),
		"recovered": result.Recovered, "not_recovered": result.NotRecovered, "reasons": result.Reasons,
	}), nil
}
