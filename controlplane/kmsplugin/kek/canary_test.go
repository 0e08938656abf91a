package kek_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// A canary finds what no Describe shows; it is never tried more than once a minute, whatever happens.
func TestCanaries(t *testing.T) {
	t.Parallel()
	other := func(a *wrapv1.UnwrapResponse) { a.Plaintext = bytes.Repeat([]byte{7}, len(a.Plaintext)) }
	for name, test := range map[string]struct {
		breaks func(*plane)
		says   string
	}{
		"another plaintext":    {func(p *plane) { p.distorts = other }, "something else"},
		"the keyring is away":  {func(p *plane) { p.refuses = fault.Newf(fault.Unavailable, "x", "", "no key of the keyring") }, "no key of the keyring"},
		"it is refused":        {func(p *plane) { p.refuses = fault.Newf(fault.Denied, "x", "", "revoked") }, "revoked"},
		"another key":          {func(p *plane) { p.wraps = func(a *wrapv1.WrapResponse) { a.KeyId = "other" } }, "another key"},
		"an endless wrap":      {func(p *plane) { p.wraps = func(a *wrapv1.WrapResponse) { a.Ciphertext = make([]byte, 1025) } }, "1025 bytes"},
		"no ciphertext":        {func(p *plane) { p.wraps = func(a *wrapv1.WrapResponse) { a.Ciphertext = nil } }, "0 bytes"},
		"what is not unwraped": {func(p *plane) { p.wraps = func(a *wrapv1.WrapResponse) { a.Ciphertext = []byte("no") } }, "not wrapped here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, kek.Options{}, func(b *bench) {
				b.after(10 * time.Second)
				b.plane.set(test.breaks)
				b.after(63 * time.Second)
				b.wants("the first canary after it broke", "trouble")
				if v := b.follower.Verdict(); !strings.Contains(v.Trouble, test.says) {
					b.Errorf("it says %q, want %q", v.Trouble, test.says)
				}
				b.after(40 * time.Second)
				b.wants("half a minute later", "lost")
				b.plane.set(func(p *plane) { p.distorts, p.wraps, p.refuses = nil, nil, nil })
				b.after(63 * time.Second)
				b.wants("when it was mended", "ok")
				spaced(b, b.plane.kek.Current())
			})
		})
	}
}

func spaced(b *bench, id string) {
	b.Helper()
	at := b.plane.kek.Canaries(id)
	if len(at) < 2 {
		b.Errorf("key %s was tried %d times", id, len(at))
	}
	for i := 1; i < len(at); i++ {
		if apart := at[i].Sub(at[i-1]); apart < time.Minute {
			b.Errorf("key %s was tried again after %v", id, apart)
		}
	}
}

func TestKeysInUseAreTriedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		var ids []string
		for range 5 {
			ids = append(ids, b.plane.kek.Rotate(b))
			b.after(10 * time.Second)
		}
		for _, id := range ids {
			b.follower.Used(id)
		}
		b.follower.Used("never heard of")
		b.after(time.Hour)
		for _, id := range ids {
			spaced(b, id)
			if n := len(b.plane.kek.Canaries(id)); n < 50 {
				b.Errorf("key %s was tried %d times in an hour", id, n)
			}
		}
		b.plane.kek.Retire(ids[0])
		b.after(10 * time.Second)
		before := len(b.plane.kek.Canaries(ids[0]))
		b.after(time.Hour)
		if after := len(b.plane.kek.Canaries(ids[0])); after != before {
			b.Errorf("a retired key was tried %d times more", after-before)
		}
		b.wants("after a retirement", "ok")
		if n := len(b.plane.kek.Canaries("never heard of")); n != 0 {
			b.Errorf("a key that is none was tried %d times", n)
		}
	})
}

// Trials that nobody answered did not take place: when the control plane comes back, it is tried at once.
func TestAnOutageLeavesNoFailedTrialBehind(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		for range 10 {
			b.plane.set(func(p *plane) { p.away = true })
			b.after(97 * time.Second)
			b.plane.set(func(p *plane) { p.away = false })
			b.after(3 * time.Second)
			b.wants("after an outage", "ok")
		}
		spaced(b, b.plane.kek.Current())
	})
}

// A former key that fails is told, and does not stop writes: they are under the current one.
func TestAFormerKeyThatFailsIsNoLoss(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		former := b.plane.kek.Current()
		b.plane.kek.Rotate(b)
		b.after(10 * time.Second)
		b.plane.set(func(p *plane) {
			p.wraps = func(a *wrapv1.WrapResponse) {
				if a.KeyId == former {
					a.Ciphertext = []byte("rot")
				}
			}
		})
		b.after(10 * time.Minute)
		b.wants("a former key fails", "trouble")
		if v := b.follower.Verdict(); !strings.Contains(v.Trouble, former) {
			b.Errorf("it says %q", v.Trouble)
		}
	})
}

// What works for an API server is as good as a canary.
func TestACallThatWorksHeals(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.plane.set(func(p *plane) { p.refuses = fault.Newf(fault.Unavailable, "x", "", "ill") })
		b.after(2 * time.Minute)
		b.wants("it fails", "lost")
		b.plane.set(func(p *plane) { p.refuses = nil })
		b.follower.Works(b.plane.kek.Current())
		b.wants("a call worked", "ok")
	})
}
