// Package keys is the keyring's part of the Admin API, as Kong Enterprise has it: list, generate, import,
// activate, deactivate, remove, export, recover. Keys and their states are controlplane/keyring's, the form of
// what is exported is controlplane/keyring/blob's.
package keys

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/secret"
)

// Ring is the keyring; controlplane/keyring says what each method promises.
type Ring interface {
	Keys() keyring.Listing
	Status() keyring.Status
	Generate(ctx context.Context) (id string, material secret.Bytes, err error)
	ImportRaw(ctx context.Context, id string, material secret.Bytes) error
	Activate(ctx context.Context, id string, force bool) error
	Deactivate(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Export(ctx context.Context) (keyring.Contents, error)
	Import(ctx context.Context, contents keyring.Contents) (keyring.Imported, error)
	Recover(ctx context.Context, privatePEM []byte, accept []string) (keyring.Recovered, error)
}

// Courier gives a whole keyring the form in which it leaves the process, and reads that form. It fails with
// fault.Invalid and says which setting is missing.
type Courier interface {
	Seal(contents keyring.Contents) (text string, err error)
	Open(text string) (keyring.Contents, error)
}

// Journal is where a reveal is recorded before it happens.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Deps is what the API stands on.
type Deps struct {
	Ring    Ring // nil: the keyring is off
	Courier Courier
	Journal Journal // nil: nothing is recorded
	// Usage counts the rows that hold values under each key.
	Usage  func(ctx context.Context) ([]record.SealedCount, error)
	Memory any    // how well the process's memory is kept, for GET /keyring; nil leaves it out
	Reveal bool   // answer a generated key with its material
	Wake   func() // a key came back: rows may have become readable
	Vault  Vault  // nil: the keyring is not of strategy vault
	// VaultStatus is what this node knows of Vault, for GET /keyring; nil leaves it out.
	VaultStatus func() any
	// KMSStatus is how the plugin that wraps the keys is, for GET /keyring; nil leaves it out.
	KMSStatus func() any
	// Rewrapper is the ring of a KMS provider, or for "" the keyring; nil when there is none.
	Rewrapper func(provider string) Rewrapper
	Log       *slog.Logger
}

// API answers for the keyring.
type API struct{ deps Deps }

// New makes the API.
func New(deps Deps) *API { return &API{deps} }

// Mount adds all paths.
func (a *API) Mount(t *rest.Table) {
	t.Handle("GET", "/keyring", a.on(a.list))
	t.Handle("GET", "/keyring/active", a.on(a.active))
	t.Handle("GET", "/keyring/usage", a.on(a.usage))
	t.Handle("POST", "/keyring/generate", a.on(a.generate))
	t.Handle("POST", "/keyring/import/raw", a.on(a.importRaw))
	t.Handle("POST", "/keyring/activate", a.on(a.activate))
	t.Handle("POST", "/keyring/deactivate", a.on(a.deactivate))
	t.Handle("POST", "/keyring/remove", a.on(a.remove))
	t.Handle("POST", "/keyring/export", a.on(a.export))
	t.Handle("POST", "/keyring/import", a.on(a.importBlob))
	t.Handle("POST", "/keyring/recover", a.on(a.recover))
	t.Handle("POST", "/keyring/rewrap", a.rewrap)
	t.Handle("POST", "/keyring/vault/sync", a.on(a.sync))
}

func (a *API) on(handler rest.Handler) rest.Handler {
	if a.deps.Ring != nil {
		return handler
	}
	return func(*rest.Request) (rest.Answer, error) {
		return rest.Answer{}, rest.Refuse(http.StatusBadRequest, "the keyring is off; set keyring_enabled = on and start again")
	}
}
