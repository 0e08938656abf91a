package keys

import (
	"encoding/base64"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/secret"
)

// generate shows the material this once, as Kong does: it is the operator's own backup.
func (a *API) generate(r *rest.Request) (rest.Answer, error) {
	reveal := a.deps.Reveal
	if r.URL.Query().Has("reveal") {
		asked, err := r.Flag("reveal")
		if err != nil {
			return rest.Answer{}, err
		}
		if asked && !reveal {
			return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "keyring_reveal_generated is off: keys are not shown")
		}
		reveal = asked
	}
	if err := r.Demand("making a key"); err != nil {
		return rest.Answer{}, err
	}
	id, material, err := a.deps.Ring.Generate(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	defer material.Wipe()
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was made", "id", id)
	if !reveal {
		return rest.JSON(http.StatusCreated, map[string]any{"id": id}), nil
	}
	if a.deps.Journal != nil {
		if err := a.deps.Journal.Record(r.Context(), "key.reveal", "key/"+id); err != nil {
			return rest.Answer{}, err
		}
	}
	body := []byte(`{"id":"` + id + `","key":"`) // eight letters and digits
	material.Reveal(func(data []byte) { body = base64.StdEncoding.AppendEncode(body, data) })
	return rest.Answer{Status: http.StatusCreated, Body: append(body, `"}`...)}, nil
}

func (a *API) importRaw(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("importing a key"); err != nil {
		return rest.Answer{}, err
	}
	values, err := arguments(r, "id", "data")
	if err != nil {
		return rest.Answer{}, err
	}
	defer clear(values["data"])
	for name, what := range map[string]string{"id": "the key's id, 8 letters and digits", "data": "base64 of the key's 32 bytes"} {
		if len(values[name]) == 0 {
			return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "%s: required field missing; it is %s", name, what)
		}
	}
	for i, c := range values["data"] { // a form reads + as a space
		if c == ' ' {
			values["data"][i] = '+'
		}
	}
	material := make([]byte, base64.StdEncoding.DecodedLen(len(values["data"])))
	n, err := base64.StdEncoding.Decode(material, values["data"])
	if err != nil {
		clear(material)
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "data: not base64; it is base64 of the key's 32 bytes")
	}
	key := secret.Take(material[:n])
	defer key.Wipe()
	if err := a.deps.Ring.ImportRaw(r.Context(), string(values["id"]), key); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was imported", "id", string(values["id"])) // the ring took it for an id
	a.deps.Wake()
	return rest.Answer{Status: http.StatusCreated}, nil
}

func (a *API) activate(r *rest.Request) (rest.Answer, error) {
	id, force, err := keyOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.deps.Ring.Activate(r.Context(), id, force); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was activated", "id", id, "forced", force) // it exists, so it is an id
	return rest.NoContent(), nil
}

func (a *API) deactivate(r *rest.Request) (rest.Answer, error) {
	id, _, err := keyOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.deps.Ring.Deactivate(r.Context(), id); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was deactivated", "id", id)
	return rest.NoContent(), nil
}

func (a *API) remove(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("removing a key"); err != nil {
		return rest.Answer{}, err
	}
	id, _, err := keyOf(r)
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.deps.Ring.Remove(r.Context(), id); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was removed", "id", id)
	return rest.NoContent(), nil
}
