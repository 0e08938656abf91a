package providerconfig_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
)

// followed is a file under way.
type followed struct {
	t    *testing.T
	path string
	*providerconfig.Follower

	mu     sync.Mutex
	answer error    // of take; guarded by mu
	taken  []string // texts that were taken; guarded by mu
	tries  int      // guarded by mu
	log    bytes.Buffer
}

// Write takes the log.
func (f *followed) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(line)
}

func (f *followed) take(_ context.Context, text providerconfig.Text) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.answer == nil {
		f.taken = append(f.taken, string(text.Bytes))
	}
	return f.answer
}

func (f *followed) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = err
}

func (f *followed) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

func (f *followed) tried() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tries
}

func follow(t *testing.T, automatic bool) *followed {
	f := &followed{t: t, path: filepath.Join(t.TempDir(), "f.yaml")}
	f.write("one")
	f.Follower = providerconfig.NewFollower(f.path, providerconfig.Hash([]byte("one")), f.take,
		providerconfig.FollowOptions{Automatic: automatic, Log: slog.New(slog.NewTextHandler(f, nil))})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	synctest.Wait()
	return f
}

func (f *followed) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// after lets time go by.
func (f *followed) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *followed) wants(problem string, taken ...string) {
	f.t.Helper()
	state := f.State()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.taken, taken) || state.Problem != problem {
		f.t.Fatalf("taken %q, problem %q; want %q, %q", f.taken, state.Problem, taken, problem)
	}
	force := "one"
	if len(taken) > 0 {
		force = taken[len(taken)-1]
	}
	if state.Hash != providerconfig.Hash([]byte(force)) {
		f.t.Fatalf("in force is %s, want that of %q", state.Hash, force)
	}
}

func TestFollowTakesWhatChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, true)
		f.after(10 * time.Minute)
		if f.tried() != 0 {
			t.Fatalf("a file that did not change was taken %d times", f.tried())
		}
		f.write("two")
		f.after(70 * time.Second)
		f.wants("", "two")
		f.write("three")
		f.Ask()
		synctest.Wait()
		f.wants("", "two", "three")
	})
}

func TestFollowKeepsTheOldOneAndTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, true)
		f.fails(errors.New("the plugin is not healthy"))
		f.write("two")
		f.after(70 * time.Second)
		f.wants("the plugin is not healthy")
		before := f.tried()
		f.after(5 * time.Minute)
		if more := f.tried() - before; more < 6 || more > 14 {
			t.Errorf("it was tried %d more times in 5 min", more)
		}
		if told := strings.Count(f.said(), "level=ERROR"); told != 1 {
			t.Errorf("it was told %d times", told)
		}
		f.fails(nil)
		f.after(70 * time.Second)
		f.wants("", "two")

		f.fails(errors.New("bad file"))
		f.write("three")
		f.after(70 * time.Second)
		f.wants("bad file", "two")
		f.write("two") // the operator thought better of it
		f.after(70 * time.Second)
		f.wants("", "two")

		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		f.after(70 * time.Second)
		if state := f.State(); !strings.Contains(state.Problem, "no such file") || state.Hash != providerconfig.Hash([]byte("two")) {
			t.Errorf("State without a file = %+v", state)
		}
	})
}

func TestFollowWhenAskedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, false)
		f.write("two")
		f.after(time.Hour)
		f.wants("")
		f.fails(errors.New("not now"))
		f.Ask()
		synctest.Wait()
		f.wants("not now")
		tries := f.tried()
		f.after(time.Hour)
		if f.tried() != tries {
			t.Errorf("it was tried again by itself")
		}
		f.Ask()
		synctest.Wait()
		if told := strings.Count(f.said(), "not now"); told != 2 {
			t.Errorf("who asked twice was told %d times", told)
		}
		f.fails(nil)
		f.Ask()
		synctest.Wait()
		f.wants("", "two")
	})
}
