package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/process"
)

// A pid file that cannot be emptied would go on to say what it said: nothing runs then, whether or not there is a file of readiness.
func TestHoldWantsAFileOfItsOwn(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: "sample"}
	pids := filepath.Join(place.Prefix, "pids")
	if err := errors.Join(os.Mkdir(pids, 0o750), os.Symlink(os.DevNull, filepath.Join(pids, "sample.pid"))); err != nil {
		t.Fatal(err)
	}
	if instance, err := process.Hold(place); err == nil {
		t.Error("a device is held for a pid file")
		_ = instance.Release()
	}
}

// Who ends takes the pid file away, which another may have opened and not locked yet: a place is held by one at a time all the same.
func TestHoldIsForOne(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: "sample"}
	var holders, held atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				instance, err := process.Hold(place)
				if err != nil {
					if fault.KindOf(err) != fault.Conflict {
						t.Error(err)
						return
					}
					continue
				}
				held.Add(1)
				if holders.Add(1) > 1 {
					t.Error("two hold one place")
				}
				if status, err := process.Look(place); err != nil || !status.Running {
					t.Errorf("who holds it is not seen: %v, %v", status, err)
				}
				holders.Add(-1) // before the file is gone
				if err := instance.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if held.Load() == 0 {
		t.Error("nobody ever held it")
	}
}

// Of several that are started at once one runs, in a session of its own, and no other start takes it for what it began.
func TestStartsMeet(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	var all sync.WaitGroup
	var began atomic.Int32
	for range 3 {
		all.Go(func() {
			if _, err := s.try("start"); err == nil {
				began.Add(1)
			}
		})
	}
	all.Wait()
	if n := began.Load(); n != 1 {
		t.Errorf("%d say that they have started it", n)
	}
	pid := s.look().Pid
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		t.Errorf("process %d is of session %d (%v), which ends with a terminal", pid, session, err)
	}
}
