package encryption_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// keys is a ring of real keys whose states a test sets.
type keys struct {
	mu     sync.Mutex
	byID   map[string]*aead.Key
	gone   map[string]bool // known, and their material missing
	lost   map[string]bool
	active string
	follow []func(ctx context.Context) error
}

func newKeys(t testing.TB, ids ...string) *keys {
	t.Helper()
	k := &keys{byID: map[string]*aead.Key{}, gone: map[string]bool{}, lost: map[string]bool{}}
	for _, id := range ids {
		k.add(t, id)
	}
	return k
}

// add makes a key and activates it, as a ring does.
func (k *keys) add(t testing.TB, id string) {
	t.Helper()
	key, err := aead.NewKey(aead.AES256GCM, secret.Take([]byte(strings.Repeat(id, 4))))
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	k.byID[id] = key
	follow := slices.Clone(k.follow)
	k.mu.Unlock()
	for _, f := range follow {
		if err := f(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	k.set(func() { k.active = id })
}

func (k *keys) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *keys) Active() (string, *aead.Key, error) {
	k.mu.Lock()
	id := k.active
	k.mu.Unlock()
	if id == "" {
		return "", nil, fault.Newf(fault.Unavailable, "keys.Active", "key/none", "no active key")
	}
	key, err := k.Key(id)
	return id, key, err
}

func (k *keys) ActiveID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active
}

func (k *keys) Key(id string) (*aead.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key := k.byID[id]; key != nil && !k.gone[id] {
		return key, nil
	}
	return nil, fault.Newf(fault.Unavailable, "keys.Key", "key/"+id, "material missing")
}

func (k *keys) Held() (ids []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.byID {
		if !k.gone[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (k *keys) Lost(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost[id]
}

func (k *keys) Follow(ctx context.Context, follow func(ctx context.Context) error) error {
	k.set(func() { k.follow = append(k.follow, follow) })
	return follow(ctx)
}

// material is key material of one byte again and again.
func material(fill byte, size int) secret.Bytes {
	return secret.Take([]byte(strings.Repeat(string(fill), size)))
}

func mustProvider(p encryption.Provider, err error) func(t testing.TB) encryption.Provider {
	return func(t testing.TB) encryption.Provider {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func newKMS(t testing.TB, name string, k *keys) encryption.Provider {
	t.Helper()
	return mustProvider(encryption.KMS(name, k))(t)
}

func newStatic(t testing.TB, layout aead.Layout, name string, fill byte) encryption.Provider {
	t.Helper()
	return mustProvider(encryption.Static(layout, name, material(fill, 32), encryption.StaticOptions{AllowUnbound: true}))(t)
}

// everyProvider has one of each that seals.
func everyProvider(t testing.TB) map[string]encryption.Provider {
	return map[string]encryption.Provider{
		"Kj3aQ0Zx":                        encryption.Keyring(newKeys(t, "Kj3aQ0Zx")),
		"k8s:enc:kms:v2:vault-1:Kj3aQ0Zy": newKMS(t, "vault-1", newKeys(t, "Kj3aQ0Zy")),
		"k8s:enc:aesgcm:v1:key1":          newStatic(t, aead.BoxGCM, "key1", 1),
		"k8s:enc:aescbc:v1:key1":          newStatic(t, aead.BoxCBC, "key1", 1),
		"k8s:enc:secretbox:v1:key1":       newStatic(t, aead.BoxSecretbox, "key1", 1),
	}
}

func binds(mark string) bool {
	return !strings.HasPrefix(mark, record.AESCBCPrefix) && !strings.HasPrefix(mark, record.SecretboxPrefix)
}

// memory is a database of named values that one process alone uses.
type memory map[string]string

func (m memory) Meta(_ context.Context, name string) (string, bool, error) {
	value, ok := m[name]
	return value, ok, nil
}

func (m memory) SwapMeta(_ context.Context, name string, old *string, value string) error {
	if stored, ok := m[name]; (old == nil) == ok || (ok && *old != stored) {
		return fault.Newf(fault.Conflict, "memory", name, "something else is stored")
	}
	m[name] = value
	return nil
}
