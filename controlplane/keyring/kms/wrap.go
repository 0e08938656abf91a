package kms

import (
	"context"
	"crypto/rand"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// Fresh reports whether the row is wrapped under the key_id that the plugin says now.
func (k *Keeper) Fresh(row record.Key) bool {
	w, err := k.open(row)
	return err == nil && w.KeyID == k.seen.Load().keyID
}

// Wrap wraps material under the key_id that Status says, and sees that it opens.
func (k *Keeper) Wrap(ctx context.Context, material secret.Bytes) ([]byte, error) {
	if o := k.seen.Load(); o.err != nil || o.good.IsZero() {
		return nil, k.unwell(o)
	}
	answer, err := k.wrap(ctx, material)
	k.noteWrap(err)
	if err != nil {
		return nil, err
	}
	k.count(toStorage, answer.KeyID)
	return wrapped{k.api, k.name, answer}.encode(), nil
}

func (k *Keeper) wrap(ctx context.Context, material secret.Bytes) (answer kmsclient.Wrapped, err error) {
	const op = "kms.Wrap"
	if answer, err = k.plugin.Encrypt(ctx, material); err != nil {
		return answer, err
	}
	if answer.KeyID != k.seen.Load().keyID { // it may have changed since Status
		if k.ask(ctx, 0); answer.KeyID != k.seen.Load().keyID {
			return answer, k.fault(fault.Unavailable, op, "the plugin encrypts under key_id %s while its status says %s: both must be the same; correct or replace the plugin",
				hashOf(answer.KeyID), hashOf(k.seen.Load().keyID))
		}
	}
	back, err := k.plugin.Decrypt(ctx, answer)
	if err != nil {
		return answer, k.fault(fault.Unavailable, op, "the plugin encrypts and does not decrypt, so that a key would be lost: %w", err)
	}
	defer back.Wipe()
	if !back.Equal(material) {
		return answer, k.fault(fault.Unavailable, op, "the plugin does not decrypt to what it has encrypted: correct or replace it")
	}
	return answer, nil
}

// try sees whether the plugin wraps, by bytes that are nobody's key.
func (k *Keeper) try(ctx context.Context) {
	data := make([]byte, aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	canary := secret.Take(data)
	defer canary.Wipe()
	_, _ = k.Wrap(ctx, canary) // which notes how it went
}
