package environments

import (
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// Key says which fingerprint key an environment has, and how far it has changed over to it. It is named, never shown.
type Key struct {
	Environment string   `json:"environment"`
	ID          string   `json:"key_id"`
	Previous    string   `json:"previous_key_id,omitempty"` // data planes have it too, until nobody waits
	Rotating    bool     `json:"rotating"`
	Waiting     []string `json:"waiting_for"` // data planes that do not have the key yet
}

// key is GET /environments/{name}/fingerprint-key.
func (a *API) key(r *rest.Request) (rest.Answer, error) {
	environment, err := a.find(r)
	if err != nil {
		return rest.Answer{}, err
	}
	return a.showKey(r, http.StatusOK, environment.GetName())
}

func (a *API) showKey(r *rest.Request, status int, environment string) (rest.Answer, error) {
	key, err := a.deps.KeyOf(r.Context(), environment)
	if err != nil {
		return rest.Answer{}, err
	}
	key.Environment, key.Rotating = environment, key.Previous != ""
	if key.Waiting == nil {
		key.Waiting = []string{}
	}
	return rest.JSON(status, key), nil
}

// rotate begins a change of the key and answers without waiting for it.
func (a *API) rotate(r *rest.Request) (rest.Answer, error) {
	environment, err := a.find(r)
	if err != nil {
		return rest.Answer{}, err
	}
	if err := a.deps.RotateKey(r.Context(), environment.GetName()); err != nil {
		return rest.Answer{}, err
	}
	a.deps.Wake()
	return rest.JSON(http.StatusAccepted, map[string]any{
		"environment": environment.GetName(), "rotating": true,
		"message": "data planes get both keys until each of them has the new one; then the previous one goes by itself",
	}), nil
}
