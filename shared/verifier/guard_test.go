package verifier

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cheap is a hash of "right" that takes no time to verify.
func cheap() string {
	h := Hash{Scheme: PBKDF2SHA256, iterations: MinIterations, salt: make([]byte, 16), tag: make([]byte, 16)}
	h.tag, _ = h.compute([]byte("right"))
	return h.text()
}

func attempt(user, password string) Attempt {
	return Attempt{netip.MustParseAddr("192.0.2.1"), user, "id-" + user, cheap(), "", []byte(password)}
}

func wantVerdict(t *testing.T, what string, got, want Verdict) {
	t.Helper()
	if got != want {
		t.Errorf("%s: verdict = %d, want %d", what, got, want)
	}
}

func TestVerdictsAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Options{UserBurst: 3, UserRate: 1e-6})
		ctx := t.Context()
		for range 100 { // one of three tokens
			wantVerdict(t, "right", g.Verify(ctx, attempt("ann", "right")), Accepted)
			time.Sleep(59 * time.Minute) // each use begins the hour anew
		}
		for range 100 { // the second
			wantVerdict(t, "wrong", g.Verify(ctx, attempt("ann", "wrong")), Refused)
		}
		time.Sleep(10 * time.Second) // forgotten: the third
		wantVerdict(t, "wrong, later", g.Verify(ctx, attempt("ann", "wrong")), Refused)
		wantVerdict(t, "wrong otherwise", g.Verify(ctx, attempt("ann", "other")), TooMany)
		wantVerdict(t, "right, remembered", g.Verify(ctx, attempt("ann", "right")), Accepted)
		time.Sleep(time.Hour) // idle: forgotten
		wantVerdict(t, "right, idle", g.Verify(ctx, attempt("ann", "right")), TooMany)
	})
}

func TestAChangedCredentialIsANewQuestion(t *testing.T) {
	t.Parallel()
	g := NewGuard(Options{})
	wantVerdict(t, "before", g.Verify(t.Context(), attempt("ann", "right")), Accepted)
	for name, change := range map[string]func(a *Attempt){
		"another hash":       func(a *Attempt) { a.Hash = HashPassword([]byte("new")) },
		"another credential": func(a *Attempt) { a.CredentialID, a.Hash = "x", HashPassword([]byte("new")) },
		"deleted":            func(a *Attempt) { a.CredentialID, a.Hash = "", "" },
		"deleted, id only":   func(a *Attempt) { a.CredentialID = "" },
	} {
		a := attempt("ann", "right")
		change(&a)
		wantVerdict(t, name, g.Verify(t.Context(), a), Refused)
	}
	broken := attempt("ann", "right")
	broken.Hash = "no hash"
	wantVerdict(t, "unreadable hash", g.Verify(t.Context(), broken), Unusable)
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Options{UserBurst: 2, UserRate: 1, ClientBurst: 5, ClientRate: 0.5})
		try := func(client, user string, n int) Verdict {
			a := attempt(user, fmt.Sprintf("guess %d", n))
			a.Client = netip.MustParseAddr(client)
			return g.Verify(t.Context(), a)
		}
		for n := range 2 {
			wantVerdict(t, "within the user's budget", try("192.0.2.1", "ann", n), Refused)
		}
		wantVerdict(t, "beyond the user's budget", try("192.0.2.1", "ann", 2), TooMany)
		wantVerdict(t, "beyond it from elsewhere", try("192.0.2.2", "ann", 3), TooMany)
		time.Sleep(time.Second)
		wantVerdict(t, "a second later", try("192.0.2.2", "ann", 4), Refused)

		for n := range 5 {
			wantVerdict(t, "within the network's budget", try(fmt.Sprintf("2001:db8::%d", n+1), fmt.Sprintf("user %d", n), n), Refused)
		}
		wantVerdict(t, "beyond it, same /64", try("2001:db8::ffff", "bob", 6), TooMany)
		for n := range 2 {
			wantVerdict(t, "that spent nothing of bob's", try("2001:db8:0:1::1", "bob", n), Refused)
		}
		wantVerdict(t, "an IPv4 address in IPv6 form is the same client", try("::ffff:192.0.2.9", "c1", 0), Refused)
		for n := range 4 {
			wantVerdict(t, "mapped", try("192.0.2.9", fmt.Sprintf("d%d", n), 0), Refused)
		}
		wantVerdict(t, "beyond the mapped budget", try("::ffff:192.0.2.9", "c2", 0), TooMany)
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Options{Parallel: 1, Queue: 2})
		g.slots <- struct{}{} // someone hashes
		var wg sync.WaitGroup
		verdicts := make([]Verdict, 3)
		leaving, leave := context.WithCancel(t.Context())
		for i := range verdicts {
			ctx := t.Context()
			if i == 2 {
				ctx = leaving
			}
			wg.Go(func() { verdicts[i] = g.Verify(ctx, attempt(fmt.Sprintf("user %d", i), "right")) })
			synctest.Wait()
		}
		wantVerdict(t, "one too many", g.Verify(t.Context(), attempt("late", "right")), TooMany)
		leave()
		synctest.Wait()
		wantVerdict(t, "who left", verdicts[2], Abandoned)
		<-g.slots
		wg.Wait()
		wantVerdict(t, "first", verdicts[0], Accepted)
		wantVerdict(t, "second", verdicts[1], Accepted)
		if g.waiting != 0 || len(g.running) != 0 || len(g.slots) != 0 {
			t.Errorf("left over: %d waiting, %d running, %d slots", g.waiting, len(g.running), len(g.slots))
		}
	})
}

func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(Options{UserBurst: 2, UserRate: 1e-9, Parallel: 1, Queue: 1})
		g.slots <- struct{}{}
		var wg sync.WaitGroup
		leaving, leave := context.WithCancel(t.Context())
		wg.Go(func() { wantVerdict(t, "the first, who left", g.Verify(leaving, attempt("ann", "right")), Abandoned) })
		synctest.Wait()
		for range 100 {
			wg.Go(func() { wantVerdict(t, "one of many", g.Verify(t.Context(), attempt("ann", "right")), Accepted) })
		}
		synctest.Wait()
		leave() // the others go on: one of them asks again, with the second token
		synctest.Wait()
		<-g.slots
		wg.Wait()
	})
}

// Argon2id allocates its 19 MiB anew each time, so allocation tells that it ran.
func TestAnUnknownUserCostsTheSame(t *testing.T) { // measures the process's allocations
	g := NewGuard(Options{})
	unknown := attempt("nobody", "x")
	unknown.CredentialID, unknown.Hash = "", ""
	legacy := attempt("old", "x")
	legacy.Hash = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
	broken := attempt("broken", "x")
	broken.Hash = "no hash"
	known := attempt("known", "x")
	known.Hash = HashPassword([]byte("y"))
	for name, a := range map[string]Attempt{"unknown": unknown, "legacy": legacy, "broken": broken, "known": known} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		g.Verify(t.Context(), a)
		runtime.ReadMemStats(&after)
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib < 18 || mib > 30 {
			t.Errorf("%s: %d MiB allocated, want about 19", name, mib)
		}
	}
}

func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	g := NewGuard(Options{Entries: 8, ClientBurst: 1000})
	for n := range 50 {
		a := attempt(fmt.Sprintf("user %d", n), "right")
		a.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		wantVerdict(t, "right", g.Verify(t.Context(), a), Accepted)
		a.Password = []byte("wrong")
		wantVerdict(t, "wrong", g.Verify(t.Context(), a), Refused)
	}
	for name, n := range map[string]int{
		"accepted": len(g.accepted.items) + g.accepted.order.Len(), "refused": len(g.refused.items) + g.refused.order.Len(),
		"clients": len(g.clients.items) + g.clients.order.Len(), "users": len(g.users.items) + g.users.order.Len(),
	} {
		if n != 16 {
			t.Errorf("%s: %d entries in map and list, want 8 in each", name, n)
		}
	}
}

func TestFingerprintsAllocateNothing(t *testing.T) { // measures allocations
	f := NewGuard(Options{}).digests
	key := []byte("0123456789abcdef0123456789abcdef")
	least := 9.0
	for range 100 { // a pool may be emptied at any time, and under the race detector at random
		least = min(least, testing.AllocsPerRun(1, func() { f.SumBytes(key) }))
	}
	if least != 0 {
		t.Errorf("%v allocations a fingerprint", least)
	}
}

func BenchmarkRememberedPassword(b *testing.B) {
	g, a := NewGuard(Options{}), attempt("ann", "right")
	g.Verify(b.Context(), a)
	b.ReportAllocs()
	for b.Loop() {
		if g.Verify(b.Context(), a) != Accepted {
			b.Fatal("forgotten")
		}
	}
}
