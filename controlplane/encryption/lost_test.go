package encryption_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// away is a provider that is not always there, and does not say when it is.
type away struct {
	encryption.Provider
	gone  atomic.Bool
	calls atomic.Int32
}

var errAway = fault.Newf(fault.Unavailable, "test", "key/x", "away")

func (a *away) Open(p aead.Place, text string) (string, error) {
	a.calls.Add(1)
	if a.gone.Load() {
		return "", errAway
	}
	return a.Provider.Open(p, text)
}

func (a *away) Seal(p aead.Place, plaintext string) (string, error) {
	a.calls.Add(1)
	if a.gone.Load() {
		return "", errAway
	}
	return a.Provider.Seal(p, plaintext)
}

// A start does not fail for what is away, and the index key is back soon after what opens it is.
func TestALostIndexKeyComesBackByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory{}
		p := &away{Provider: newStatic(t, aead.BoxGCM, "k", 1)}
		before := must(opens(t, store, others(p)).Fingerprint("t", "f", "v"))(t)
		p.gone.Store(true)
		c := opens(t, store, others(p))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(time.Minute)
		if _, err := c.Fingerprint("t", "f", "v"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Fingerprint = %v, want unavailable", err)
		}
		p.gone.Store(false)
		time.Sleep(10 * time.Second)
		if got, err := c.Fingerprint("t", "f", "v"); got != before || err != nil {
			t.Errorf("Fingerprint = %s, %v", got, err)
		}
		calls := p.calls.Load()
		time.Sleep(time.Hour)
		if p.calls.Load() != calls {
			t.Error("it is asked on and on")
		}
		stop()
		if err := <-ended; err != context.Canceled {
			t.Errorf("Run = %v", err)
		}
	})
}

// A dead plugin is not waited for where another provider opens the index key.
func TestTheIndexKeyIsOpenedByWhatIsThere(t *testing.T) {
	t.Parallel()
	store := memory{}
	dead, gcm := &away{Provider: newStatic(t, aead.BoxGCM, "a", 1)}, newStatic(t, aead.BoxGCM, "b", 2)
	before := must(opens(t, store, others(dead, gcm)).Fingerprint("t", "f", "v"))(t)
	dead.gone.Store(true)
	if got, err := opens(t, store, others(dead, gcm)).Fingerprint("t", "f", "v"); got != before || err != nil {
		t.Errorf("Fingerprint = %s, %v", got, err)
	}
}

// Where the material of a key is exchanged under its name, the copy of the index key is exchanged too.
func TestOtherMaterialOfTheSameName(t *testing.T) {
	t.Parallel()
	store := memory{}
	older, newer := newStatic(t, aead.BoxGCM, "k", 1), newStatic(t, aead.BoxGCM, "k", 2)
	c := opens(t, store, others(older))
	before := must(c.Fingerprint("t", "f", "v"))(t)
	if err := c.Swap(t.Context(), others(newer, older)); err != nil {
		t.Fatal(err)
	}
	if got, err := opens(t, store, others(newer)).Fingerprint("t", "f", "v"); got != before || err != nil {
		t.Errorf("Fingerprint = %s, %v", got, err)
	}
	text := store["index_key"]
	if err := c.Swap(t.Context(), others(newer, older)); err != nil || store["index_key"] != text {
		t.Errorf("it is exchanged once more (%v)", err)
	}
}
