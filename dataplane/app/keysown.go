package app

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/secret"
)

// ownKey is what this node's own keys come of.
type ownKey struct {
	roots   []secret.Bytes // that something may be sealed by, the newest first
	pending bool           // not all is sealed by the newest
}

// followOwn seals this node's disk by its new private key when somebody has replaced the files of its certificate under way: a
// restart would else find it sealed by a key that is gone. What this node renews itself is sealed before the key is in use.
func (p *plane) followOwn(ctx context.Context) error {
	source := p.belonging.source
	was := source.Identity()
	for {
		changed := source.Changed()
		var again <-chan time.Time
		is := source.Identity()
		if is.Organisation == was.Organisation && is.Environment == was.Environment { // else this node ends
			if err := p.sealByOwn(source); err != nil {
				p.log.Error("this node's private key was replaced, and not all is sealed by it: a restart may find that sealed by a key that is gone", "error", err)
				again = time.After(keysRetry)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again:
		}
	}
}

// sealByOwn writes everything again, if the key that the node has now is another than what it is sealed by.
func (p *plane) sealByOwn(source *mtls.Source) error {
	root, err := source.DeriveKey(storeKeyLabel, 32)
	if err != nil {
		return err
	}
	k := p.keys
	k.mu.Lock()
	over, known := k.over, root.Equal(k.ownKey.roots[0])
	if !known && !over {
		k.ownKey = ownKey{append([]secret.Bytes{root}, k.ownKey.roots...), true}
	}
	roots, pending := k.ownKey.roots, k.ownKey.pending
	k.mu.Unlock()
	if known || over {
		root.Wipe()
	}
	if over || !pending {
		return nil
	}
	// What cluster_cert_key_previous opened was written again at the start.
	err = p.rewrap(func() (*localkeys.Ring, error) { return localkeys.New(roots[0], roots[1:]...) })
	if err == errKeysOver {
		return nil
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.ownKey = ownKey{roots[:1:1], false}
	k.mu.Unlock()
	p.notice("this node's private key was replaced; what it keeps is sealed by the new one")
	return nil
}
