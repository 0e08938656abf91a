package kms_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	clusterID = "5d1c"
	provider  = "corp"
	ringName  = "kms/corp"
)

// backend is what all plugins of a town wrap by.
type backend struct {
	mu     sync.Mutex
	sealed map[string]wrapping // by ciphertext; guarded by mu
	lost   map[string]bool     // key_ids that open nothing any more; guarded by mu
}

type wrapping struct {
	keyID     string
	plaintext []byte
}

var (
	errAway    = fault.Newf(fault.Unavailable, "fake", "kms/corp", "nobody listens: start the plugin")
	errRefused = fault.Newf(fault.Unavailable, "fake", "kms/corp", "permission denied")
)

// plugin is one node's, with the faults that it has at present.
type plugin struct {
	backend *backend

	mu         sync.Mutex
	keyID      string              // all below are guarded by mu
	next       func() string       // each Status asks for its key_id, when it is set
	dead       bool                // nothing answers
	ill        error               // of Status alone
	encryptsAs string              // key_id of Encrypt
	deny       bool                // Decrypt
	garbage    bool                // Encrypt: opens under no key
	answers    func([]byte) []byte // Decrypt
	calls      map[string]int      // by method
	asked      map[string]int      // Decrypt by ciphertext
}

func (p *plugin) set(change func(p *plugin)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *plugin) called(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[method]
}

// call counts a call; a dead plugin is waited for as long as a client waits.
func (p *plugin) call(ctx context.Context, method string) error {
	p.mu.Lock()
	dead := p.dead
	p.calls[method]++
	p.mu.Unlock()
	if !dead {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Second):
		return errAway
	}
}

func (p *plugin) Status(ctx context.Context) (kmsclient.Status, error) {
	if err := p.call(ctx, "Status"); err != nil {
		return kmsclient.Status{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		p.keyID = p.next()
	}
	return kmsclient.Status{Version: "v2", KeyID: p.keyID}, p.ill
}

func (p *plugin) Encrypt(ctx context.Context, plaintext secret.Bytes) (kmsclient.Wrapped, error) {
	if err := p.call(ctx, "Encrypt"); err != nil {
		return kmsclient.Wrapped{}, err
	}
	p.mu.Lock()
	keyID, garbage := p.keyID, p.garbage
	if p.encryptsAs != "" {
		keyID = p.encryptsAs
	}
	p.mu.Unlock()
	text := make([]byte, 16)
	rand.Read(text)
	if !garbage {
		p.backend.mu.Lock()
		defer p.backend.mu.Unlock()
		plaintext.Reveal(func(data []byte) { p.backend.sealed[string(text)] = wrapping{keyID, bytes.Clone(data)} })
	}
	return kmsclient.Wrapped{KeyID: keyID, Ciphertext: text, Annotations: map[string][]byte{"a.test": {1}}}, nil
}

func (p *plugin) Decrypt(ctx context.Context, w kmsclient.Wrapped) (secret.Bytes, error) {
	if err := p.call(ctx, "Decrypt"); err != nil {
		return secret.Bytes{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[string(w.Ciphertext)]++
	p.backend.mu.Lock()
	defer p.backend.mu.Unlock()
	known, ok := p.backend.sealed[string(w.Ciphertext)]
	if p.deny || !ok || known.keyID != w.KeyID || p.backend.lost[w.KeyID] {
		return secret.Bytes{}, errRefused
	}
	answer := bytes.Clone(known.plaintext)
	if p.answers != nil {
		answer = p.answers(answer)
	}
	return secret.Take(answer), nil
}
