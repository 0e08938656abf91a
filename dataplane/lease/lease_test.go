package lease_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/lease"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/secret"
)

const node = "acme/prod"

var update = flag.Bool("update", false, "write the golden file anew")

func record(t *testing.T) lease.Record {
	t.Helper()
	return lease.Record{Path: filepath.Join(t.TempDir(), "lease"), FS: durable.Disk{}, Node: node, Key: keyOf(7)}
}

func keyOf(b byte) func() (*aead.Key, error) {
	return func() (*aead.Key, error) {
		return aead.NewKey(aead.AES256GCM, secret.Take(bytes.Repeat([]byte{b}, aead.KeySize)))
	}
}

// put writes a record as another life of the node would have.
func put(t *testing.T, r lease.Record, contact, seen time.Time) {
	t.Helper()
	key, err := r.Key()
	if err != nil {
		t.Fatal(err)
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(contact.UnixNano()))
	body = binary.BigEndian.AppendUint64(body, uint64(seen.UnixNano()))
	if err := os.WriteFile(r.Path, key.Seal([]byte{1}, body, aead.Associated("keepgate/lease/1", r.Node)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(r lease.Record, period time.Duration) *lease.Lease {
	return lease.Open(period, func() bool { return false }, r, slog.New(slog.DiscardHandler))
}

// run lets a lease run until the test ends and returns how it turned.
func run(t *testing.T, l *lease.Lease) (turned func() []bool, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var turns []bool
	ended := make(chan error, 1)
	go func() {
		ended <- l.Run(ctx, true, func(ended bool) {
			mu.Lock()
			defer mu.Unlock()
			turns = append(turns, ended)
		})
	}()
	turned = func() []bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(turns)
	}
	return turned, func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
}

func TestALeaseEndsAndBeginsAgain(t *testing.T) {
	t.Parallel()
	r := record(t)
	synctest.Test(t, func(t *testing.T) {
		l := open(r, time.Hour)
		if !l.Ended() || !l.Contact().IsZero() {
			t.Errorf("before anything was heard: %v left, heard %v", l.Left(), l.Contact())
		}
		turns, stop := run(t, l)
		defer stop()
		step := func(what string, wait time.Duration, ended bool, want ...bool) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if l.Ended() != ended || !slices.Equal(turns(), want) {
				t.Fatalf("%s: ended %v (%v left), turns %v, want %v and %v", what, l.Ended(), l.Left(), turns(), ended, want)
			}
		}
		l.Heard()
		step("heard", time.Nanosecond, false, false)
		step("just before its end", time.Hour-2*time.Nanosecond, false, false)
		l.Heard()
		step("heard again", 59*time.Minute, false, false)
		step("past its end", 2*time.Minute, true, false, true)
		step("long past", 100*time.Hour, true, false, true)
		l.Heard()
		step("heard after that", time.Nanosecond, false, false, true, false)
	})
}

func TestALinkKeepsALease(t *testing.T) {
	t.Parallel()
	r := record(t)
	synctest.Test(t, func(t *testing.T) {
		var linked atomic.Bool
		l := lease.Open(time.Second, linked.Load, r, slog.New(slog.DiscardHandler))
		turned, stop := run(t, l)
		defer stop()
		linked.Store(true)
		l.Heard()
		time.Sleep(time.Minute) // the control plane has nothing to say
		synctest.Wait()
		if l.Ended() || !slices.Equal(turned(), []bool{false}) {
			t.Errorf("ended %v, turns %v", l.Ended(), turned())
		}
		linked.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !l.Ended() || !slices.Equal(turned(), []bool{false, true}) {
			t.Errorf("without a link: ended %v, turns %v", l.Ended(), turned())
		}
	})
}

func TestARestartDoesNotProlong(t *testing.T) {
	t.Parallel()
	r := record(t)
	synctest.Test(t, func(t *testing.T) {
		l := open(r, time.Hour)
		_, stop := run(t, l)
		l.Heard()
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		stop()
		time.Sleep(10 * time.Minute)
		l = open(r, time.Hour)
		if left := l.Left(); left != 10*time.Minute {
			t.Errorf("%v left after a restart, want 10m", left)
		}
		time.Sleep(10 * time.Minute)
		if !l.Ended() {
			t.Errorf("%v left", l.Left())
		}
		if l = open(r, time.Hour); !l.Ended() {
			t.Errorf("%v left after another restart", l.Left())
		}
		if l = open(r, 2*time.Hour); l.Left() != time.Hour {
			t.Errorf("%v left of a longer lease, want 1h", l.Left())
		}
	})
}

// A clock that was set back far is behind the latest time it has shown for long: what goes by meanwhile counts all the same.
func TestARestartDoesNotProlongWithAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	r := record(t)
	synctest.Test(t, func(t *testing.T) {
		put(t, r, time.Now().Add(24*time.Hour), time.Now().Add(24*time.Hour))
		for _, want := range []time.Duration{40 * time.Minute, 20 * time.Minute, 0} {
			l := open(r, time.Hour)
			_, stop := run(t, l)
			time.Sleep(20 * time.Minute)
			synctest.Wait()
			stop()
			if left := open(r, time.Hour).Left(); left != want {
				t.Errorf("%v left after a restart, want %v", left, want)
			}
		}
	})
}

// TestARecordIsWrittenWhileThereIsNoLink: else a clock that is set back during an outage would give that time again.
func TestARecordIsWrittenWhileThereIsNoLink(t *testing.T) {
	t.Parallel()
	r := record(t)
	synctest.Test(t, func(t *testing.T) {
		l := open(r, time.Hour)
		_, stop := run(t, l)
		defer stop()
		l.Heard()
		synctest.Wait()
		first, err := os.ReadFile(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		second, err := os.ReadFile(r.Path)
		if err != nil || bytes.Equal(first, second) {
			t.Errorf("the record is as it was: %v", err)
		}
	})
}

func TestClocksThatAreSet(t *testing.T) {
	t.Parallel()
	r := record(t)
	tests := map[string]struct {
		contact, seen time.Duration // against now
		left          time.Duration // of an hour
	}{
		"heard just now":                               {0, 0, time.Hour},
		"heard half an hour ago":                       {-30 * time.Minute, -10 * time.Minute, 30 * time.Minute},
		"set back by ten hours, 20 minutes had gone":   {10 * time.Hour, 10*time.Hour + 20*time.Minute, 40 * time.Minute},
		"set back by ten hours, the lease had ended":   {10 * time.Hour, 12 * time.Hour, 0},
		"heard a day ago":                              {-24 * time.Hour, -24 * time.Hour, 0},
		"seen before it was heard, which cannot be so": {time.Minute, -time.Hour, time.Hour + time.Minute},
	}
	for name, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			put(t, r, time.Now().Add(test.contact), time.Now().Add(test.seen))
			if left := min(open(r, time.Hour).Left(), time.Hour); left != min(test.left, time.Hour) {
				t.Errorf("%s: %v left, want %v", name, left, test.left)
			}
		})
	}
}

func TestARecordThatIsNoGoodIsNone(t *testing.T) {
	t.Parallel()
	r := record(t)
	put(t, r, time.Now(), time.Now())
	if open(r, time.Hour).Ended() {
		t.Fatal("the record does not count")
	}
	whole, err := os.ReadFile(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		changed := slices.Clone(whole)
		changed[at] ^= 1
		if err := os.WriteFile(r.Path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if l := open(r, time.Hour); !l.Ended() {
			t.Errorf("byte %d changed: %v left", at, l.Left())
		}
	}
	for size := range whole {
		if err := os.WriteFile(r.Path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if l := open(r, time.Hour); !l.Ended() {
			t.Errorf("%d bytes: %v left", size, l.Left())
		}
	}
	if err := os.WriteFile(r.Path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*lease.Record){
		"another node": func(r *lease.Record) { r.Node = "acme/test" },
		"another key":  func(r *lease.Record) { r.Key = keyOf(8) },
		"no key":       func(r *lease.Record) { r.Key = func() (*aead.Key, error) { return nil, errors.New("none") } },
		"removed":      func(r *lease.Record) { r.Path += "x" },
	} {
		other := r
		change(&other)
		l := open(other, time.Hour)
		if !l.Ended() {
			t.Errorf("%s: %v left", name, l.Left())
		}
		if l.Heard(); l.Ended() {
			t.Errorf("%s: it has ended although a control plane was heard", name)
		}
	}
}

func TestRecordForm(t *testing.T) {
	t.Parallel()
	r := record(t)
	golden := "testdata/record.golden"
	if *update {
		r.Path = golden
		put(t, r, time.Unix(1_800_000_000, 5), time.Unix(1_800_000_060, 0))
	}
	r.Path = golden
	synctest.Test(t, func(t *testing.T) { // long before
		l := open(r, time.Hour)
		if want := time.Unix(1_800_000_000, 5); !l.Contact().Equal(want) || l.Left() < 58*time.Minute || l.Left() > time.Hour {
			t.Errorf("heard %v, want %v; %v left", l.Contact(), want, l.Left())
		}
	})
}
