package app

import (
	"context"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// way is how a plugin of v2 is reached: a client that another one can take the place of, so that the ring of its seeds
// stays what it is.
type way struct{ current atomic.Pointer[kmsclient.V2] }

func (w *way) Status(ctx context.Context) (kmsclient.Status, error) {
	return w.current.Load().Status(ctx)
}

func (w *way) Encrypt(ctx context.Context, plaintext secret.Bytes) (kmsclient.Wrapped, error) {
	return w.current.Load().Encrypt(ctx, plaintext)
}

func (w *way) Decrypt(ctx context.Context, wrapped kmsclient.Wrapped) (secret.Bytes, error) {
	return w.current.Load().Decrypt(ctx, wrapped)
}

func (w *way) Close() error { return w.current.Load().Close() }

// move is another way to a plugin that is open, which is about to be taken.
type move struct {
	plugin *plugin
	given  providerconfig.Plugin
	client *kmsclient.V2
}

// well says why the way is not to be taken: the plugin at its end is not well, or is not the one that wrapped the seeds.
func (m *move) well(ctx context.Context) error {
	if _, err := m.client.Status(ctx); err != nil {
		return err
	}
	for _, known := range m.plugin.ring.View().Keys {
		key, err := m.plugin.ring.Key(known.ID)
		if err != nil {
			continue // not even the way of now opens it
		}
		material, err := m.plugin.keeper.Unwrap(ctx, m.client, known.Key)
		if err != nil {
			return err
		}
		same := sameKey(key, material)
		material.Wipe()
		if !same {
			return fault.Newf(fault.Unavailable, "app.Reload", "kms/"+m.given.Name, "the plugin at %s does not open seed %s as the one before did: it is not the same", m.given.Endpoint, known.ID)
		}
	}
	return nil
}

// sameKey reports whether material is that of a key.
func sameKey(key *aead.Key, material secret.Bytes) bool {
	other, err := aead.NewKey(aead.AES256GCM, material)
	if err != nil {
		return false
	}
	place := aead.Place{Table: "@move"} // no table has such a name
	_, err = aead.OpenText(other, place, aead.SealText(key, "00000000", place, nil))
	return err == nil
}

// take goes the way from now on, and returns what closes the one before.
func (m *move) take() (closeFormer func() error) {
	before := m.plugin.way.current.Swap(m.client)
	m.plugin.given = m.given
	return before.Close
}
