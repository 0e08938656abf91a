package keys

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// generate shows the material this once, as Kong does: it is the operator's own backup.
func (a *API) generate(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("making a key"); err != nil {
		return rest.Answer{}, err
	}
	reveal, err := a.reveals(r)
	if err != nil {
		return rest.Answer{}, err
	}
	id, material, err := a.deps.Ring.Generate(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	defer material.Wipe()
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was made", "id", id)
	if !reveal || material.Len() == 0 { // under some strategies nobody ever sees it
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

// reveals reports whether a new key is to be shown: as the setting says, unless the caller wants less.
func (a *API) reveals(r *rest.Request) (bool, error) {
	given, err := read(r, "reveal")
	if err != nil {
		return false, err
	}
	asked, said, err := given.flag(r, "reveal")
	switch {
	case err != nil:
		return false, err
	case !said:
		return a.deps.Reveal, nil
	case asked && !a.deps.Reveal:
		return false, rest.Refuse(http.StatusBadRequest, "keyring_reveal_generated is off: keys are not shown")
	}
	return asked, nil
}

func (a *API) importRaw(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("importing a key"); err != nil {
		return rest.Answer{}, err
	}
	given, err := read(r, "id", "data")
	if err != nil {
		return rest.Answer{}, err
	}
	defer given.wipe()
	id, data := string(given.values["id"]), given.values["data"]
	switch {
	case id == "":
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "id: required field missing; it is the key's id, 8 letters and digits")
	case len(data) == 0:
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "data: required field missing; it is base64 of the key's 32 bytes")
	}
	for i, c := range data { // a form reads + as a space
		if c == ' ' {
			data[i] = '+'
		}
	}
	material := make([]byte, base64.StdEncoding.DecodedLen(len(data)))
	n, err := base64.StdEncoding.Decode(material, data)
	if err != nil {
		clear(material)
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "data: not base64; it is base64 of the key's 32 bytes")
	}
	key := secret.Take(material[:n])
	defer key.Wipe()
	if err := a.deps.Ring.ImportRaw(r.Context(), id, key); err != nil {
		return rest.Answer{}, plainly(err)
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was imported", "id", id) // the ring took it for an id
	a.deps.Wake()
	return rest.Answer{Status: http.StatusCreated}, nil
}

func (a *API) activate(r *rest.Request) (rest.Answer, error) {
	id, force, err := keyOf(r, "force")
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.deps.Ring.Activate(r.Context(), id, force); err != nil {
		return rest.Answer{}, plainly(err)
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
		return rest.Answer{}, plainly(err)
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
		return rest.Answer{}, plainly(err)
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: a key was removed", "id", id)
	return rest.NoContent(), nil
}

// plainly says what of a key could not be done. That some other node lacks it is not told as if this one did.
func plainly(err error) error {
	id, isKey := strings.CutPrefix(fault.SubjectOf(err), "key/")
	if fault.KindOf(err) != fault.Unavailable || !isKey {
		return err
	}
	return &rest.Refusal{Status: http.StatusServiceUnavailable, Body: map[string]any{
		"name": "key unavailable", "key_id": id, "message": fault.Text(err) + "; GET /keyring and GET /clustering/control-planes show who holds what",
	}}
}
