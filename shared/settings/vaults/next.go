package vaults

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
)

// restBetween is how old a value has to be before its vault is asked again behind an answer.
const restBetween = 10 * time.Second

// following is a [settings.Source].
type following struct {
	ask func(ctx context.Context) (secret.Bytes, error)

	mu     sync.Mutex
	value  secret.Bytes
	err    error
	looked time.Time     // when the last look began, or ended
	look   chan struct{} // closed at the end of the look under way; nil: there is none
}

// next gives a reference's next values.
func (s Settings) next(r settings.Reference, value secret.Bytes, roots Roots) settings.Source {
	return &following{value: value, looked: time.Now(), ask: func(ctx context.Context) (secret.Bytes, error) { return s.again(ctx, r, roots) }}
}

// again looks one reference up. The value is the caller's.
func (s Settings) again(ctx context.Context, r settings.Reference, roots Roots) (secret.Bytes, error) {
	once := newFetching(s, roots)
	defer once.close()
	once.later = "wait until it answers"
	value, wrong := once.value(ctx, r, []settings.Reference{r})
	if wrong.said != "" {
		return secret.Bytes{}, errors.New(r.Key + ": " + wrong.said + "; " + wrong.remedy)
	}
	return value, nil
}

var errSilent = errors.New("its vault is asked and gives no answer")

// Known never waits: who opens a connection must not depend on the vault's being quick. It has the vault asked where the value is old.
func (f *following) Known() (secret.Bytes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch rest := time.Since(f.looked); {
	case f.look == nil && rest >= restBetween:
		f.begin()
	case f.look != nil && rest >= 2*patience: // a file system hangs, say
		return f.value, errSilent
	}
	return f.value, f.err
}

// Newest waits for a look, which it shares with others.
func (f *following) Newest(ctx context.Context) (secret.Bytes, error) {
	f.mu.Lock()
	if f.look == nil {
		f.begin()
	}
	look := f.look
	f.mu.Unlock()
	select {
	case <-look:
		return f.Known()
	case <-ctx.Done():
		value, _ := f.Known()
		return value, errSilent
	}
}

// begin looks, for little longer than patience; mu is held.
func (f *following) begin() {
	ended := make(chan struct{})
	f.looked, f.look = time.Now(), ended
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		value, err := f.ask(ctx)
		f.mu.Lock()
		defer f.mu.Unlock()
		switch f.err = err; {
		case err != nil:
		case value.Equal(f.value):
			value.Wipe()
		default:
			f.value = value // the former one may be in use, and is left to who has it
		}
		f.looked, f.look = time.Now(), nil
	}()
}
