package kek_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// plane is a control plane without a network, so that a test can run through hours.
type plane struct {
	kek *wraptest.KEK

	mu       sync.Mutex
	away     bool                                  // guarded by mu; nothing is answered
	refuses  error                                 // guarded by mu; what wraps and unwraps end with
	distorts func(*wrapv1.UnwrapResponse)          // guarded by mu
	wraps    func(*wrapv1.WrapResponse)            // guarded by mu
	says     func(answer *wrapv1.DescribeResponse) // guarded by mu
	asked    []time.Time                           // guarded by mu; Describes
	slow     time.Duration                         // guarded by mu
}

func (p *plane) set(change func(*plane)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *plane) snapshot() (away bool, refuses error, slow time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away, p.refuses, p.slow
}

func gone(op string) error {
	return fault.Newf(fault.Unavailable, op, "", "no node of the control plane serves")
}

func typed(err error) error {
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.NotFound:
		return fault.New(fault.NotFound, "test", "", err)
	}
	return fault.New(fault.Invalid, "test", "", err)
}

func (p *plane) Describe(context.Context) (*wrapv1.DescribeResponse, error) {
	away, _, slow := p.snapshot()
	p.set(func(p *plane) { p.asked = append(p.asked, time.Now()) })
	answer := p.kek.Describe()
	time.Sleep(slow)
	if away {
		return nil, gone("Describe")
	}
	p.set(func(p *plane) {
		if p.says != nil {
			p.says(answer)
		}
	})
	return answer, nil
}

func (p *plane) Wrap(_ context.Context, request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error) {
	away, refuses, _ := p.snapshot()
	if away {
		return nil, gone("Wrap")
	}
	answer, err := p.kek.Wrap(request)
	if refuses != nil {
		return nil, refuses
	}
	p.set(func(p *plane) {
		if p.wraps != nil && err == nil {
			p.wraps(answer)
		}
	})
	return answer, typed(err)
}

func (p *plane) Unwrap(_ context.Context, request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error) {
	away, refuses, _ := p.snapshot()
	if away {
		return nil, gone("Unwrap")
	}
	if refuses != nil {
		return nil, refuses
	}
	answer, err := p.kek.Unwrap(request)
	p.set(func(p *plane) {
		if p.distorts != nil && err == nil {
			p.distorts(answer)
		}
	})
	return answer, typed(err)
}

// bench runs a follower of the KEK "prod" in a bubble of its own time.
type bench struct {
	*testing.T
	plane    *plane
	follower *kek.Follower
	log      *bytes.Buffer
	stop     func()
}

func inBubble(t *testing.T, options kek.Options, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, plane: &plane{kek: wraptest.NewKEK(t, "prod")}, log: &bytes.Buffer{}}
		options.Log = slog.New(slog.NewTextHandler(b.log, nil))
		b.follower = kek.New(b.plane, "prod", options)
		b.begin()
		defer func() { b.stop() }()
		test(b)
	})
}

func (b *bench) begin() {
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.follower.Run(ctx) }()
	b.stop = func() { cancel(); <-ended }
	synctest.Wait()
}

func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// verdict is how it stands, as a word.
func (b *bench) verdict() string {
	switch v := b.follower.Verdict(); {
	case v.IsLost:
		return "lost"
	case v.Trouble != "":
		return "trouble"
	default:
		return "ok"
	}
}

func (b *bench) wants(what, verdict string) {
	b.Helper()
	if got := b.verdict(); got != verdict {
		b.Errorf("%s: %s, want %s (%q)", what, got, verdict, b.follower.Verdict().Trouble)
	}
}

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
		if n := len(b.plane.asked); n != 1 || time.Since(began) > time.Second {
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
		if n := len(b.plane.asked); n > 60 {
			b.Errorf("a flood of ten seconds made %d questions", n)
		}
		b.plane.set(func(p *plane) { p.away = true })
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
		if n := len(b.plane.asked); n > 60 || n < 30 {
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
