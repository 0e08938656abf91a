package kms

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/secret"
)

// Unwrap opens a row by another way to a plugin, as by another socket, so that whoever is about to take that way sees
// whether the same plugin is at its end. What comes back is the caller's to wipe, and to prove.
func (k *Keeper) Unwrap(ctx context.Context, by Plugin, row record.Key) (secret.Bytes, error) {
	w, err := k.open(row)
	if err != nil {
		return secret.Bytes{}, err
	}
	return by.Decrypt(ctx, w.Wrapped)
}
