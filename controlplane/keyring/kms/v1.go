package kms

import (
	"context"
	"crypto/rand"
	"io"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	keyIDOfV1   = "v1"
	canaryGoods = 50 * time.Second // Status comes once a minute, give or take
)

// PluginV1 is a plugin that speaks version 1 of the API.
type PluginV1 interface {
	Encrypt(ctx context.Context, plaintext secret.Bytes) ([]byte, error)
	Decrypt(ctx context.Context, cipher []byte) (secret.Bytes, error)
}

// v1 makes a Plugin of one of version 1.
type v1 struct {
	name   string
	plugin PluginV1
	mu     sync.Mutex
	good   time.Time // when the last canary came back; guarded by mu
}

// V1 makes a [Plugin] of one that has neither a word for its health nor a name for its key. Its key_id is always
// the same, so that nothing tells of a change of the key inside; it is well when bytes come back as they were
// wrapped, which is asked once a minute at most.
func V1(name string, plugin PluginV1) Plugin { return &v1{name: name, plugin: plugin} }

func (v *v1) Status(ctx context.Context) (kmsclient.Status, error) {
	status := kmsclient.Status{Version: "v1", KeyID: keyIDOfV1}
	v.mu.Lock()
	good := v.good
	v.mu.Unlock()
	if !good.IsZero() && elapsed(good) < canaryGoods {
		return status, nil
	}
	data := make([]byte, aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	canary := secret.Take(data)
	defer canary.Wipe()
	began := time.Now()
	cipher, err := v.plugin.Encrypt(ctx, canary)
	if err != nil {
		return kmsclient.Status{}, err
	}
	back, err := v.plugin.Decrypt(ctx, cipher)
	if err != nil {
		return kmsclient.Status{}, err
	}
	defer back.Wipe()
	if !back.Equal(canary) {
		return kmsclient.Status{}, fault.Newf(fault.Unavailable, "kms.Status", "kms/"+v.name, "the plugin does not decrypt to what it has encrypted: correct or replace it")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.good = began
	return status, nil
}

func (v *v1) Encrypt(ctx context.Context, plaintext secret.Bytes) (kmsclient.Wrapped, error) {
	cipher, err := v.plugin.Encrypt(ctx, plaintext)
	return kmsclient.Wrapped{KeyID: keyIDOfV1, Ciphertext: cipher}, err
}

func (v *v1) Decrypt(ctx context.Context, wrapped kmsclient.Wrapped) (secret.Bytes, error) {
	return v.plugin.Decrypt(ctx, wrapped.Ciphertext)
}

// Close ends what the plugin holds open.
func (v *v1) Close() error {
	if closer, ok := v.plugin.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
