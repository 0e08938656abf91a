package vaults

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
)

// restBetween is how old a value has to be before its vault is asked again.
const restBetween = 10 * time.Second

// following is a [settings.Source]: it answers with what it knows, and asks for more behind the answer.
type following struct {
	ask func(ctx context.Context) (secret.Bytes, error)

	mu     sync.Mutex
	value  secret.Bytes
	err    error
	looked time.Time
	asking bool
}

// next gives a reference's next values.
func (s Settings) next(r settings.Reference, value secret.Bytes, roots Roots) settings.Source {
	f := &following{value: value, looked: time.Now(), ask: func(ctx context.Context) (secret.Bytes, error) { return s.again(ctx, r, roots) }}
	return f.newest
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

// newest never waits: who opens a connection must not depend on the vault's being quick.
func (f *following) newest() (secret.Bytes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asking && time.Since(f.looked) >= restBetween {
		f.asking = true
		go f.look() // ends within patience
	}
	return f.value, f.err
}

func (f *following) look() {
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
	f.looked, f.asking = time.Now(), false
}
