package keys

import (
	"maps"
	"net/http"
	"slices"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/fault"
)

// listing is Kong's two members first, then what an operator wants to see.
type listing struct {
	IDs      []string            `json:"ids"`
	Active   *string             `json:"active"` // null when it is not usable
	State    string              `json:"state"`
	Strategy string              `json:"strategy"`
	Memory   any                 `json:"memory,omitempty"`
	Locked   bool                `json:"memory_locked"` // the pages of all held keys
	Keys     []keyring.KeyStatus `json:"keys"`
	Refused  keyring.Refused     `json:"refused"`
	Vault    any                 `json:"vault,omitempty"` // with strategy vault
	KMS      any                 `json:"kms,omitempty"`   // with strategy kms
	Warnings []string            `json:"warnings"`
}

func (a *API) list(*rest.Request) (rest.Answer, error) {
	held, status := a.deps.Ring.Keys(), a.deps.Ring.Status()
	l := listing{
		IDs: held.IDs, State: status.State, Strategy: status.Strategy, Memory: a.deps.Memory, Locked: status.MemoryLocked,
		Keys: status.Keys, Refused: status.Refused, Warnings: []string{},
	}
	if held.Active != "" {
		l.Active = &held.Active
	}
	if a.deps.VaultStatus != nil {
		l.Vault = a.deps.VaultStatus()
	}
	if a.deps.KMSStatus != nil {
		l.KMS = a.deps.KMSStatus()
	}
	l.Warnings = append(l.Warnings, status.Warnings...)
	return rest.JSON(http.StatusOK, l), nil
}

func (a *API) active(*rest.Request) (rest.Answer, error) {
	if held := a.deps.Ring.Keys(); held.Active != "" {
		return rest.JSON(http.StatusOK, map[string]any{"id": held.Active}), nil
	}
	id := a.deps.Ring.Status().Active
	if id == "" {
		id = "none"
	}
	return rest.Answer{}, fault.Newf(fault.Unavailable, "admin.keyring", "key/"+id, "it is the active key and its material is missing")
}

// usageOf is how many rows hold values under one key.
type usageOf struct {
	Key    string         `json:"key"` // "": in clear
	Rows   int            `json:"rows"`
	Tables map[string]int `json:"tables"`
}

func (a *API) usage(r *rest.Request) (rest.Answer, error) {
	counts, err := a.deps.Usage(r.Context())
	if err != nil {
		return rest.Answer{}, err
	}
	byKey := map[string]*usageOf{}
	for _, key := range a.deps.Ring.Status().Keys {
		byKey[key.ID] = &usageOf{Key: key.ID, Tables: map[string]int{}}
	}
	for _, count := range counts {
		u := byKey[count.Key]
		if u == nil {
			u = &usageOf{Key: count.Key, Tables: map[string]int{}}
			byKey[count.Key] = u
		}
		u.Rows += count.Rows
		u.Tables[count.Table] += count.Rows
	}
	data := []*usageOf{}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		data = append(data, byKey[key])
	}
	return rest.JSON(http.StatusOK, map[string]any{"data": data}), nil
}
