package kek

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

const canarySize = 32 // as an API server's seed

// trial is what is known of whether a key works.
type trial struct {
	usedAt   time.Time // when the plugin was asked for it last
	triedAt  time.Time // when a canary began last; zero: never
	worksAt  time.Time // when a canary or a call worked last
	failedAt time.Time // since when it has not worked; zero: it does
	failure  error
}

// Used notes that an API server uses a key: from now on it is tried.
func (f *Follower) Used(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.follow(id); t != nil {
		t.usedAt = time.Now()
	}
}

// follow has a key be tried from now on, unless it is not known. The caller holds mu.
func (f *Follower) follow(id string) *trial {
	if f.view == nil || !f.view.Knows(id) {
		return nil
	}
	t := f.trials[id]
	if t == nil {
		t = &trial{}
		f.trials[id] = t
	}
	return t
}

// Works notes that a key wrapped or unwrapped for an API server.
func (f *Follower) Works(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.follow(id); t != nil {
		t.usedAt = time.Now()
		t.worksAt, t.failedAt, t.failure = t.usedAt, time.Time{}, nil
	}
}

// tryNext tries the key that has waited longest, if it has waited long enough. One at a time: the questions for the keys
// must not wait for all of them.
func (f *Follower) tryNext(ctx context.Context) {
	id, ok := f.due(time.Now())
	if !ok {
		return
	}
	began := time.Now()
	err := f.try(ctx, id)
	if ctx.Err() != nil {
		return
	}
	if fault.KindOf(err) == fault.Unavailable && f.Ask(ctx) != nil {
		f.settle(id, time.Time{}, nil) // nobody is there, which is told already; nothing was tried
		return
	}
	f.settle(id, began, err)
}

// due is the key in use that was tried longest ago.
func (f *Follower) due(now time.Time) (id string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id, t := range f.trials {
		if t.triedAt.IsZero() || now.Sub(t.triedAt) >= f.options.Canary {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "", false
	}
	id = slices.MinFunc(ids, func(a, b string) int {
		return cmp.Or(f.trials[a].triedAt.Compare(f.trials[b].triedAt), cmp.Compare(a, b))
	})
	f.trials[id].triedAt = now
	return id, true
}

// settle notes what came of a trial; one that began at no time did not take place.
func (f *Follower) settle(id string, began time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.trials[id]
	switch {
	case t == nil: // retired meanwhile
	case began.IsZero():
		t.triedAt = time.Time{}
	case err == nil:
		t.worksAt, t.failedAt, t.failure = time.Now(), time.Time{}, nil
	case t.worksAt.After(began): // a call worked meanwhile
	default:
		t.failure = err
		if t.failedAt.IsZero() {
			t.failedAt = began
		}
	}
}

// Try tries the current key, now, for one who asks by hand.
func (f *Follower) Try(ctx context.Context) error { return f.try(ctx, f.Verdict().Current.ID) }

// try wraps a random secret under a key, unwraps it again and compares.
func (f *Follower) try(ctx context.Context, id string) error {
	secret, name := make([]byte, canarySize), make([]byte, 8)
	rand.Read(secret)
	rand.Read(name)
	defer clear(secret)
	uid := "canary-" + hex.EncodeToString(name)
	wrapped, err := f.cp.Wrap(ctx, &wrapv1.WrapRequest{Uid: uid, KeyId: id, Plaintext: secret, Canary: true})
	if err != nil {
		return fmt.Errorf("wrapping: %w", err)
	}
	if err := CheckWrapped(wrapped, id, secret); err != nil {
		return err
	}
	opened, err := f.cp.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: uid, KeyId: id, Ciphertext: wrapped.Ciphertext, Canary: true})
	if err != nil {
		return fmt.Errorf("unwrapping: %w", err)
	}
	defer clear(opened.Plaintext)
	if !bytes.Equal(opened.Plaintext, secret) {
		return errors.New("what was wrapped unwraps to something else")
	}
	return nil
}

const maxCiphertext = 1024 // as an API server bounds it

// CheckWrapped holds an answer to what was asked for: the same key, and a ciphertext that an API server takes and that
// does not hold the secret.
func CheckWrapped(answer *wrapv1.WrapResponse, id string, secret []byte) error {
	switch {
	case answer.KeyId != id:
		return fault.Newf(fault.Internal, "kek.Wrap", "", "the control plane wrapped under another key than it was asked to: %.100q", answer.KeyId)
	case len(answer.Ciphertext) == 0 || len(answer.Ciphertext) > maxCiphertext:
		return fault.Newf(fault.Internal, "kek.Wrap", "", "the control plane's ciphertext has %d bytes, not 1 to %d", len(answer.Ciphertext), maxCiphertext)
	case len(secret) >= canarySize/2 && bytes.Contains(answer.Ciphertext, secret):
		return fault.Newf(fault.Internal, "kek.Wrap", "", "the control plane's ciphertext holds what it was to wrap")
	}
	return nil
}
