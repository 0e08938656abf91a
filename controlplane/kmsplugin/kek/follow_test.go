package kek_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestARotationIsNoticedWithinTenSeconds(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		first := b.plane.kek.Current()
		if got := b.follower.Verdict().Current.ID; got != first {
			b.Fatalf("current is %q, want %q", got, first)
		}
		for range 20 {
			b.after(7 * time.Second)
			next := b.plane.kek.Rotate(b)
			b.after(10 * time.Second)
			if got := b.follower.Verdict().Current.ID; got != next {
				b.Fatalf("ten seconds after a rotation %q is current, want %q", got, next)
			}
			b.wants("after a rotation", "ok")
		}
	})
}

func TestAnOutageIsTroubleAndThenLoss(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.after(5 * time.Minute)
		for range 3 {
			b.wants("before the outage", "ok")
			b.plane.set(func(p *plane) { p.away = true })
			b.after(7 * time.Second)
			b.wants("a blip", "ok")
			b.after(8 * time.Second)
			b.wants("after 15 s", "trouble")
			if v := b.follower.Verdict(); v.Current.ID != b.plane.kek.Current() || !strings.Contains(v.Trouble, "no node") {
				b.Errorf("in trouble: %+v", v)
			}
			b.after(20 * time.Second)
			b.wants("after 35 s", "lost")
			b.after(10 * time.Minute)
			b.wants("after minutes", "lost")
			b.plane.set(func(p *plane) { p.away = false })
			b.after(3 * time.Second)
			b.wants("after the outage", "ok")
			b.after(time.Minute)
			b.wants("a minute after the outage", "ok")
		}
		for said, n := range map[string]int{"nothing can be promised": 3, "in trouble": 3, "well again": 3} {
			if got := strings.Count(b.log.String(), said); got != n {
				b.Errorf("the log says %q %d times, want %d:\n%s", said, got, n, b.log)
			}
		}
	})
}

func TestNothingIsPromisedBeforeTheControlPlaneAnswered(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.stop()
		b.plane.set(func(p *plane) { p.away = true })
		b.follower = kek.New(b.plane, "prod", kek.Options{})
		b.wants("before the start", "lost")
		b.begin()
		b.wants("while it is away", "lost")
		if v := b.follower.Verdict(); !strings.Contains(v.Trouble, "no node") {
			b.Errorf("it says %q", v.Trouble)
		}
		b.plane.set(func(p *plane) { p.away = false })
		b.after(3 * time.Second)
		b.wants("when it came", "ok")
	})
}

func TestTheCurrentKeyNeverGoesBack(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.after(5 * time.Second)
		older := b.plane.kek.Keys()
		b.after(5 * time.Second)
		newest := b.plane.kek.Rotate(b)
		all := b.plane.kek.Keys()
		b.after(10 * time.Second)
		b.plane.set(func(p *plane) { // a node that is behind, and still wraps under all keys
			p.says = func(a *wrapv1.DescribeResponse) { a.Keys = a.Keys[:1] }
		})
		for range 100 {
			b.after(3 * time.Second)
			if got := b.follower.Verdict().Current.ID; got != newest {
				b.Fatalf("current went from %s back to %s", newest, got)
			}
		}
		b.wants("a node behind", "trouble")
		b.plane.set(func(p *plane) { p.says = nil })
		b.after(5 * time.Second)
		b.wants("it caught up", "ok")

		b.plane.kek.Restore(older) // an older database: the newest key is gone
		b.after(5 * time.Minute)
		b.wants("a restored database", "lost")
		if v := b.follower.Verdict(); v.Current.ID != newest {
			b.Errorf("current is %s", v.Current.ID)
		}
		b.plane.kek.Rotate(b) // generation 2 once more, with another key_id
		b.after(63 * time.Second)
		b.wants("rotated after a restore", "ok")
		if v := b.follower.Verdict(); v.Current.ID == newest || v.Current.ID != b.plane.kek.Current() {
			b.Errorf("current is %s, want the new one", v.Current.ID)
		}
		b.plane.kek.Restore(all) // and now the other way: it was seen, so it is not new
		b.after(time.Minute)
		if v := b.follower.Verdict(); v.Current.ID == newest {
			b.Error("a key that was current before became current again")
		}
	})
}

type memory struct {
	mu  sync.Mutex
	key kek.Key
}

func (m *memory) Load(string) (kek.Key, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.key, m.key.ID != ""
}

func (m *memory) Save(_ string, key kek.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.key = key
	return nil
}

func TestARestartDoesNotGoBackEither(t *testing.T) {
	t.Parallel()
	mark := &memory{}
	inBubble(t, kek.Options{Mark: mark}, func(b *bench) {
		b.after(time.Second)
		newest := b.plane.kek.Rotate(b)
		b.after(10 * time.Second)
		b.stop()
		b.plane.set(func(p *plane) { p.says = func(a *wrapv1.DescribeResponse) { a.Keys = a.Keys[:1] } })
		b.follower = kek.New(b.plane, "prod", kek.Options{Mark: mark})
		b.begin()
		b.wants("at a node that is behind", "lost")
		if v := b.follower.Verdict(); !strings.Contains(v.Trouble, "older than "+newest) {
			b.Errorf("it says %q", v.Trouble)
		}
		b.plane.set(func(p *plane) { p.says = nil })
		b.after(3 * time.Second)
		b.wants("it caught up", "ok")
	})
}

// Many that ask for a key at once cost one question; a flood costs a few a second.
func TestUnknownKeysAreAskedForTogether(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.after(500 * time.Millisecond)
		next := b.plane.kek.Rotate(b)
		b.plane.set(func(p *plane) { p.asked, p.slow = nil, 50*time.Millisecond })
		began := time.Now()
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() {
				if known, err := b.follower.Knows(b.Context(), next); !known || err != nil {
					b.Errorf("Knows = %v, %v", known, err)
				}
			})
		}
		group.Wait()
		if n := b.plane.questions(); n != 1 || time.Since(began) > time.Second {
			b.Errorf("%d questions in %v", n, time.Since(began))
		}
		b.plane.set(func(p *plane) { p.asked = nil })
		for i := range 100 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				if known, err := b.follower.Knows(b.Context(), fmt.Sprint("foreign-", i)); known || err != nil {
					b.Errorf("Knows = %v, %v", known, err)
				}
			})
		}
		group.Wait()
		if n := b.plane.questions(); n > 60 {
			b.Errorf("a flood of ten seconds made %d questions", n)
		}
		b.plane.set(func(p *plane) { p.away = true })
		b.after(time.Millisecond) // what was asked at this very instant counts
		if known, err := b.follower.Knows(b.Context(), "x"); known || fault.KindOf(err) != fault.Unavailable {
			b.Errorf("Knows while the control plane is away = %v, %v", known, err)
		}
		if known, err := b.follower.Knows(b.Context(), next); !known || err != nil {
			b.Errorf("Knows of a held key = %v, %v", known, err)
		}
	})
}

func TestAFloodOfDoubtsIsNoFloodOfQuestions(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{}, func(b *bench) {
		b.plane.set(func(p *plane) { p.asked, p.away = nil, true })
		for range 1000 {
			b.follower.Doubt()
			b.after(10 * time.Millisecond)
		}
		if n := b.plane.questions(); n > 60 || n < 30 {
			b.Errorf("ten seconds of doubt made %d questions", n)
		}
	})
}

func TestAnOldKeyIsWarnedOf(t *testing.T) {
	t.Parallel()
	inBubble(t, kek.Options{Poll: time.Hour}, func(b *bench) {
		b.after(89 * 24 * time.Hour)
		if b.follower.Report().IsOld || strings.Contains(b.log.String(), "is old") {
			b.Error("89 days are old")
		}
		b.after(3 * 24 * time.Hour)
		if n := strings.Count(b.log.String(), "the current key is old"); !b.follower.Report().IsOld || n < 1 || n > 3 {
			b.Errorf("92 days: old %v, warned %d times", b.follower.Report().IsOld, n)
		}
		b.plane.kek.Rotate(b)
		b.after(2 * time.Hour)
		if b.follower.Report().IsOld {
			b.Error("a new key is old")
		}
	})
}
