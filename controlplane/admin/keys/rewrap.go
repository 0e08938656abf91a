package keys

import (
	"context"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// Rewrapper is a ring; controlplane/keyring says what each method promises.
type Rewrapper interface {
	Rewrap(ctx context.Context) (done []string, err error)
	Lacking() []string
}

// rewrap wraps the keys of the keyring, or of a KMS provider, under the plugin's present key_id.
func (a *API) rewrap(r *rest.Request) (rest.Answer, error) {
	if err := r.Demand("wrapping keys again"); err != nil {
		return rest.Answer{}, err
	}
	given, err := read(r, "provider")
	if err != nil {
		return rest.Answer{}, err
	}
	defer given.wipe()
	name := string(given.values["provider"])
	var ring Rewrapper
	if a.deps.Rewrapper != nil {
		ring = a.deps.Rewrapper(name)
	}
	switch {
	case ring == nil && name == "":
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "the keyring is off; set keyring_enabled = on and start again, or name a KMS v2 provider of encryption_provider_config in provider")
	case ring == nil:
		return rest.Answer{}, rest.Refuse(http.StatusNotFound, "provider: there is no KMS v2 provider of this name in encryption_provider_config")
	}
	done, err := ring.Rewrap(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: keys were wrapped again", "keys", done)
	return rest.JSON(http.StatusOK, map[string]any{"rewrapped": append([]string{}, done...), "left": append([]string{}, ring.Lacking()...)}), nil
}
