package vaults

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
)

func text(b secret.Bytes) (text string) {
	b.Reveal(func(data []byte) { text = string(data) })
	return text
}

// vault answers questions, each when it is let to.
type vault struct {
	mu    sync.Mutex
	asked int    // guarded by mu
	value string // guarded by mu
	err   error  // guarded by mu
	takes time.Duration
	given []secret.Bytes
}

func (v *vault) ask(ctx context.Context) (secret.Bytes, error) {
	v.mu.Lock()
	v.asked++
	v.mu.Unlock()
	select {
	case <-time.After(v.takes):
	case <-ctx.Done():
		return secret.Bytes{}, errors.New("no answer in time")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return secret.Bytes{}, v.err
	}
	v.given = append(v.given, secret.Take([]byte(v.value)))
	return v.given[len(v.given)-1], nil
}

func (v *vault) set(value string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.value, v.err = value, err
}

// follow follows a vault that takes a while for an answer, from a value that was just read.
func follow(takes time.Duration) (*vault, *following) {
	v := &vault{value: "one", takes: takes}
	return v, &following{ask: v.ask, value: secret.Take([]byte("one")), looked: time.Now()}
}

func (v *vault) want(t *testing.T, f *following, value, said string, asked int) {
	t.Helper()
	synctest.Wait()
	got, err := f.Known()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if text(got) != value || (said == "") != (err == nil) || err != nil && err.Error() != said || v.asked != asked {
		t.Errorf("Known = %q, %v after %d questions; want %q, %q, %d", text(got), err, v.asked, value, said, asked)
	}
}

func TestAVaultIsLeftInPeaceBetweenQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(time.Second)
		v.set("two", nil)
		v.want(t, f, "one", "", 0)
		time.Sleep(restBetween - time.Nanosecond)
		v.want(t, f, "one", "", 0)
		time.Sleep(time.Nanosecond)
		v.want(t, f, "one", "", 1) // at once, with what is known
		time.Sleep(v.takes - time.Nanosecond)
		v.want(t, f, "one", "", 1)
		time.Sleep(time.Nanosecond)
		v.want(t, f, "two", "", 1)
		time.Sleep(restBetween - time.Nanosecond) // from the answer on
		v.want(t, f, "two", "", 1)
		v.set("three", nil)
		time.Sleep(time.Nanosecond)
		v.want(t, f, "two", "", 2)
		time.Sleep(v.takes)
		v.want(t, f, "three", "", 2)
		time.Sleep(time.Hour) // nobody asks by itself
		v.want(t, f, "three", "", 3)
		time.Sleep(v.takes)
	})
}

func TestOneQuestionAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(patience - time.Nanosecond)
		time.Sleep(restBetween)
		v.set("two", nil)
		for range 5 {
			v.want(t, f, "one", "", 1)
			time.Sleep(time.Second)
		}
		time.Sleep(patience)
		v.want(t, f, "two", "", 1)
	})
}

func TestAnErrorLeavesTheLastValue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(0)
		later := func(value, said string, asked int) {
			t.Helper()
			time.Sleep(restBetween)
			_, _ = f.Known() // asks
			v.want(t, f, value, said, asked)
		}
		v.set("", errors.New("it is sealed"))
		later("one", "it is sealed", 1)
		later("one", "it is sealed", 2)
		v.set("one", nil)
		later("one", "", 3)
		v.set("", errors.New("it is down"))
		later("one", "it is down", 4)
		v.set("two", nil)
		later("two", "", 5)
	})
}

// A question ends, and the next one can be asked.
func TestAVaultThatNeverAnswersIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(time.Hour)
		time.Sleep(restBetween)
		v.want(t, f, "one", "", 1)
		time.Sleep(patience)
		v.want(t, f, "one", "no answer in time", 1)
		v.takes = 0
		v.set("two", nil)
		time.Sleep(restBetween)
		v.want(t, f, "one", "no answer in time", 2)
		v.want(t, f, "two", "", 2)
	})
}

// Who logs in rarely waits for what is there now, and shares the look with others; a vault that is silent leaves it what is known.
func TestWhoWaitsGetsTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(time.Second)
		v.set("two", nil)
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if value, err := f.Newest(t.Context()); err != nil || text(value) != "two" {
					t.Errorf("Newest = %q, %v", text(value), err)
				}
			})
		}
		waiting.Wait()
		v.want(t, f, "two", "", 1)
		v.set("", errors.New("it is sealed"))
		if value, err := f.Newest(t.Context()); err == nil || err.Error() != "it is sealed" || text(value) != "two" {
			t.Errorf("Newest of a sealed vault = %q, %v", text(value), err)
		}
		v.takes = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if value, err := f.Newest(ctx); err != errSilent || text(value) != "two" {
			t.Errorf("Newest of a silent vault = %q, %v", text(value), err)
		}
		time.Sleep(patience)
	})
}

// A file system that hangs heeds no deadline: that is told, and nothing is asked beside it.
func TestALookThatDoesNotEndIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		f := &following{value: secret.Take([]byte("one")), looked: time.Now(), ask: func(context.Context) (secret.Bytes, error) {
			<-hangs
			return secret.Take([]byte("two")), nil
		}}
		time.Sleep(restBetween)
		if value, err := f.Known(); err != nil || text(value) != "one" {
			t.Errorf("Known = %q, %v", text(value), err)
		}
		time.Sleep(2 * patience)
		if value, err := f.Known(); err != errSilent || text(value) != "one" {
			t.Errorf("Known while a look hangs = %q, %v", text(value), err)
		}
		close(hangs)
		synctest.Wait()
		if value, err := f.Known(); err != nil || text(value) != "two" {
			t.Errorf("Known after it = %q, %v", text(value), err)
		}
	})
}

// What is taken stays whole, also where it is replaced later: a connection may be made with it at this moment. What is not needed is wiped.
func TestOnlyWhatNobodyHasIsWiped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(0)
		first, _ := f.Known()
		for i, value := range []string{"one", "two", "two"} {
			v.set(value, nil)
			time.Sleep(restBetween)
			v.want(t, f, []string{"one", "one", "two"}[i], "", i+1)
		}
		got := []string{text(first), text(v.given[0]), text(v.given[1]), text(v.given[2])}
		if want := [4]string{"one", "\x00\x00\x00", "two", "\x00\x00\x00"}; [4]string(got) != want {
			t.Errorf("left are %q, want %q", got, want)
		}
	})
}

func TestFollowingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v, f := follow(time.Second)
		var asking sync.WaitGroup
		for n := range 16 {
			asking.Go(func() {
				for i := range 40 {
					if value, err := f.Known(); value.Len() != len("one") || err != nil && err.Error() != "it is down" {
						t.Errorf("Known = %q, %v", text(value), err)
					}
					if n == 0 {
						v.set("two", map[bool]error{true: errors.New("it is down")}[i%3 == 0])
					}
					time.Sleep(time.Duration(n+1) * 500 * time.Millisecond)
				}
			})
		}
		asking.Wait()
		time.Sleep(patience)
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.asked < 5 {
			t.Errorf("it was asked %d times", v.asked)
		}
	})
}
