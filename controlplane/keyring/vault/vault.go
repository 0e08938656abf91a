// Package vault is the keyring's strategy for keys that live in HashiCorp Vault or OpenBao, in a secret of the key-value store,
// version 2. It makes no keys and writes nothing there.
//
// Each version of the secret is a key: its field "id" is the key's id, 8 letters and digits, and the material is the SHA-256 of its
// field "key". The newest version is the active key. So a rotation is a new version, and then a sync: it reads Vault on one node,
// whose ring takes what is new through its barrier; other nodes get it from that one, as in strategy cluster, or read it themselves.
//
//   - A version that is deleted or destroyed is never taken. A key whose version went away is kept as long as a node holds it, and
//     status says so: after a restart of all nodes it is missing.
//   - While the newest version is deleted, or is refused, the active key stays.
//   - A version is refused when its fields are no key, or its id is that of another key.
//
// The database holds each key's id, check value, state and proof, and no material. Each start, sync and poll logs in, reads, and
// logs out: nothing waits for Vault, a token may end in between, and a start goes on without (the keys are missing until Vault
// answers). What the token may do beyond reading data and metadata of the one secret is of no use here.
package vault

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// Strategy is the name that settings and the database know.
const Strategy = "vault"

// How to log in.
const (
	AuthToken      = "token"
	AuthKubernetes = "kubernetes"
)

// Options says where the keys are, and how to log in.
type Options struct {
	Server        vaultclient.Options
	Mount, Path   string
	Auth          string // AuthToken or AuthKubernetes
	Token         secret.Bytes
	TokenFile     string                                      // read for each login, instead of Token
	TokenSource   func(context.Context) (secret.Bytes, error) // unless nil, asked for each login instead of Token
	KubeRole      string
	KubeTokenFile string
	Poll          time.Duration // 0: only at the start and when it is asked for
}

// Keeper is the strategy. It is safe for concurrent use.
type Keeper struct {
	options Options
	client  *vaultclient.Client
	seen    atomic.Pointer[seen]
}

// New makes a Keeper and asks nobody. It fails with fault.Invalid and names the setting.
func New(options Options) (*Keeper, error) {
	bad := func(setting, why string) error {
		return fault.New(fault.Invalid, "vault.New", setting, errors.New(why))
	}
	if err := vaultclient.CheckAddress(options.Server.Address); err != nil {
		return nil, bad("keyring_vault_host", textOf(err))
	}
	for setting, path := range map[string]string{"keyring_vault_mount": options.Mount, "keyring_vault_path": options.Path} {
		if err := vaultclient.CheckPath(path); err != nil {
			return nil, bad(setting, textOf(err))
		}
	}
	client, err := vaultclient.New(options.Server)
	if err != nil {
		return nil, err
	}
	options.Mount, options.Path = strings.Trim(options.Mount, "/"), strings.Trim(options.Path, "/")
	k := &Keeper{options: options, client: client}
	k.seen.Store(&seen{})
	return k, nil
}

// Strategy is the name that settings and the database know.
func (*Keeper) Strategy() string { return Strategy }

// InMemoryOnly is false: Vault has the material after a restart. A key that is gone from there is nobody's to replace.
func (*Keeper) InMemoryOnly() bool { return false }

// Prepare has nothing to do.
func (*Keeper) Prepare() (notice string, err error) { return "", nil }

// Keep leaves row as it is: the database gets no material.
func (*Keeper) Keep(row record.Key, _ secret.Bytes) (record.Key, error) { return row, nil }

// Restore never can, since it must not wait for Vault; what is read there comes by [Sync]. It says where the material is.
func (k *Keeper) Restore(row record.Key) (secret.Bytes, error) {
	return secret.Bytes{}, fault.New(fault.Unavailable, "vault.Restore", "key/"+row.ID, errors.New(k.whereIs(row.ID)))
}

// Refuses names what is done in Vault instead.
func (k *Keeper) Refuses(act keyring.Act) error {
	instead := ""
	switch act {
	case keyring.ActFirst:
		instead = "the first key is the first version there"
	case keyring.ActGenerate, keyring.ActActivate:
		instead = "the newest version there is the active key; write one (" + k.put() + ") and then: keepgate-cp keyring vault-sync"
	case keyring.ActImport, keyring.ActRecover:
		instead = "a key comes back with its version there, and then: keepgate-cp keyring vault-sync"
	case keyring.ActExport:
		instead = "a backup of the keys is a backup of Vault"
	case keyring.ActDeactivate, keyring.ActRemove:
		instead = "re-encrypt what is under the key, and then delete or destroy its version there"
	}
	return fault.Newf(fault.Invalid, "vault.Refuses", "keyring_strategy", "keyring_strategy = vault keeps the keys in Vault, at %s: %s", k.place(), instead)
}

// place is what operators call the secret.
func (k *Keeper) place() string { return k.options.Mount + "/" + k.options.Path }

// put is the command that writes a version.
func (k *Keeper) put() string {
	return "vault kv put -mount=" + k.options.Mount + " " + k.options.Path + " id=<8 letters and digits> key=$(openssl rand -base64 32)"
}

// textOf is an error of the client for an operator.
func textOf(err error) string {
	if f, ok := errors.AsType[*vaultclient.Failure](err); ok {
		return f.Text
	}
	return fault.Text(err)
}
