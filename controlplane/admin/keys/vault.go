package keys

import (
	"bytes"
	"context"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Vault is what a keyring of strategy vault takes its keys from.
type Vault interface {
	// Now reads Vault, by a token for this once or, where it is empty, as the settings have it, and returns when every node
	// that lives holds what it found.
	Now(ctx context.Context, token secret.Bytes) error
}

// sync reads Vault for the whole control plane. A token that comes with the request is used this once.
func (a *API) sync(r *rest.Request) (rest.Answer, error) {
	given, err := read(r, "token")
	if err != nil {
		return rest.Answer{}, err
	}
	defer given.wipe()
	if a.deps.Vault == nil {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "keyring_strategy = %s keeps no keys in a Vault: there is nothing to read again",
			a.deps.Ring.Status().Strategy)
	}
	err = a.deps.Vault.Now(r.Context(), secret.Take(bytes.TrimSpace(given.values["token"])))
	a.deps.Wake() // what was taken stays so when something after it fails
	if err != nil {
		return rest.Answer{}, unsynced(err)
	}
	a.deps.Log.InfoContext(r.Context(), "keyring: Vault was read for the whole control plane", "active", a.deps.Ring.Keys().Active)
	return rest.NoContent(), nil
}

// unsynced tells a Vault that does not answer from a node that does not.
func unsynced(err error) error {
	if subject := fault.SubjectOf(err); fault.KindOf(err) != fault.Unavailable || subject != "vault" && subject != "keyring_vault_token" {
		return plainly(err)
	}
	return &rest.Refusal{Status: http.StatusServiceUnavailable, Body: map[string]any{"name": "vault unavailable", "message": fault.Text(err)}}
}
