package keks_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/shared/fault"
)

// A key that was replaced wraps for a while more, and its rewritten objects are safe from the time that rotate names.
func TestTheTimesOfARotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &rows{texts: map[string]string{}}
		k := keks.New(db, db, silent{}, keks.Options{})
		first, err := k.Create(t.Context(), "prod", 0)
		if err != nil {
			t.Fatal(err)
		}
		rotated := time.Now()
		second, err := k.Rotate(t.Context(), "prod")
		if err != nil || !second.SafeAt.Equal(rotated.Add(8*time.Minute+10*time.Second)) && second.SafeAt.Sub(rotated) > keks.SafeAfter+time.Second {
			t.Fatalf("safe at %v after a rotation at %v, %v", second.SafeAt, rotated, err)
		}
		old := keks.Use{Name: "prod", KeyID: first.KeyID}
		if _, under, err := k.Wrap(t.Context(), prod, old, []byte("seed")); err != nil || under != first.KeyID {
			t.Fatalf("just after a rotation: %s, %v", under, err)
		}
		time.Sleep(keks.WrapGrace + 2*time.Second)
		_, _, err = k.Wrap(t.Context(), prod, old, []byte("seed"))
		wants(t, err, fault.Conflict)
		if keys, _, err := k.Keys(t.Context(), "prod"); err != nil || len(keys) != 2 || keys[1].KeyID != second.KeyID || keys[0].KeyID != first.KeyID {
			t.Fatalf("Keys = %v, %v", keys, err)
		}
		wants(t, k.Retire(t.Context(), "prod", first.KeyID, false), fault.Conflict)
		time.Sleep(keks.SafeAfter)
		if err := k.Retire(t.Context(), "prod", first.KeyID, false); err != nil {
			t.Fatal(err)
		}
	})
}

// broken is a database that is away when it is told so.
type broken struct {
	rows
	away bool
}

func (b *broken) Head(ctx context.Context) (uint64, error) {
	if b.away {
		return 0, fault.Newf(fault.Unavailable, "broken", "", "away")
	}
	return b.rows.Head(ctx)
}

// A node that has not read for a while cannot know that a key was replaced, and wraps nothing; it goes on unwrapping.
func TestAStaleNodeWrapsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &broken{rows: rows{texts: map[string]string{}}}
		k := keks.New(db, db, silent{}, keks.Options{})
		made, err := k.Create(t.Context(), "prod", 0)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, _, err := k.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
		if err != nil {
			t.Fatal(err)
		}
		db.away = true
		time.Sleep(time.Minute)
		_, _, err = k.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed"))
		wants(t, err, fault.Unavailable)
		_, _, err = k.Keys(t.Context(), "prod")
		wants(t, err, fault.Unavailable)
		if opened, err := k.Unwrap(t.Context(), prod, keks.Use{Name: "prod", KeyID: made.KeyID}, wrapped); err != nil || string(opened) != "seed" {
			t.Fatalf("%q, %v", opened, err)
		}
		db.away = false
		if _, _, err := k.Wrap(t.Context(), prod, keks.Use{Name: "prod"}, []byte("seed")); err != nil {
			t.Fatal(err)
		}
	})
}

// rotate_every is kept by whichever node looks first, and by one alone; without it an old key is warned of.
func TestTimePasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, log := &rows{texts: map[string]string{}}, &logged{}
		a, b := keks.New(db, db, silent{}, options(log)), keks.New(db, db, silent{}, options(log))
		first, err := a.Create(t.Context(), "auto", 30*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Create(t.Context(), "hand", 0); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, k := range []*keks.Keks{a, b} {
			group.Go(func() { _ = k.Run(ctx) })
		}
		time.Sleep(29 * 24 * time.Hour)
		if s, _ := a.Show(t.Context(), "auto"); s.KeyID != first.KeyID {
			t.Error("it rotates too early")
		}
		time.Sleep(2 * 24 * time.Hour)
		s, err := b.Show(t.Context(), "auto")
		if err != nil || len(s.Keys) != 2 || s.Keys[0].State != keks.Former {
			t.Errorf("after a period there are %d keys, %v", len(s.Keys), err)
		}
		time.Sleep(60 * 24 * time.Hour)
		hand, err := a.Show(t.Context(), "hand")
		if err != nil || len(hand.Warnings) != 1 || len(hand.Keys) != 1 || !strings.Contains(log.String(), "kek=hand") {
			t.Errorf("at 91 days it warns %q, %v", hand.Warnings, err)
		}
		stop()
		group.Wait()
		if told := strings.Count(log.String(), "kek=hand"); told < 2 || told > 6 {
			t.Errorf("two nodes told %d times of an old key in a day and a bit", told)
		}
	})
}
