package keys

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/fault"
)

func (a *API) export(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("exporting keys"); err != nil {
		return rest.Answer{}, err
	}
	contents, err := a.deps.Ring.Export(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	defer contents.Wipe()
	if len(contents.Keys) == 0 {
		return rest.Answer{}, fault.Newf(fault.Unavailable, "admin.export", "key/"+contents.Active, "this node holds no key at all, so there is nothing to export")
	}
	text, err := a.deps.Courier.Seal(contents)
	if err != nil {
		return rest.Answer{}, err
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": text}), nil
}

func (a *API) importBlob(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("importing keys"); err != nil {
		return rest.Answer{}, err
	}
	given, err := read(r, "data")
	if err != nil {
		return rest.Answer{}, err
	}
	defer given.wipe()
	if len(given.values["data"]) == 0 {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "data: required field missing; it is the member data of what POST /keyring/export answered")
	}
	contents, err := a.deps.Courier.Open(string(given.values["data"]))
	if err != nil {
		return rest.Answer{}, err
	}
	defer contents.Wipe()
	result, err := a.deps.Ring.Import(r.Context(), contents)
	a.deps.Wake() // what was imported stays so when the activation after it fails
	if err != nil {
		return rest.Answer{}, plainly(err)
	}
	return rest.JSON(http.StatusCreated, map[string]any{
		"ids": a.deps.Ring.Keys().IDs, "active": result.Active,
		"imported": result.Imported, "not_imported": result.NotImported, "reasons": result.Reasons,
	}), nil
}

func (a *API) recover(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("recovering keys"); err != nil {
		return rest.Answer{}, err
	}
	const name = "recovery_private_key"
	given, err := read(r, name, "accept_unproven")
	if err != nil {
		return rest.Answer{}, err
	}
	defer given.wipe()
	private := given.values[name]
	if len(private) == 0 {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "%s: required field missing; send it as curl -F %s=@key.pem", name, name)
	}
	accept := strings.FieldsFunc(string(given.values["accept_unproven"]), func(c rune) bool { return c == ',' || c == ' ' })
	result, err := a.deps.Ring.Recover(r.Context(), private, accept)
	if err != nil {
		return rest.Answer{}, err
	}
	a.deps.Wake()
	return rest.JSON(http.StatusOK, map[string]any{
		"message":   fmt.Sprintf("successfully recovered %d keys", len(result.Recovered)),
		"recovered": result.Recovered, "not_recovered": result.NotRecovered, "reasons": result.Reasons, "active": result.Active,
	}), nil
}
