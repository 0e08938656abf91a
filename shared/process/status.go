package process

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
)

// pollEvery is how often a change of another process's state is looked for.
const pollEvery = 20 * time.Millisecond

// Status is what can be told about a place from outside.
type Status struct {
	Running bool
	Ready   bool // it has said so
	Pid     int  // 0 when not running
}

// Look returns the status of a place.
func Look(place Place) (Status, error) {
	held, err := place.held()
	if err != nil || !held {
		return Status{}, err
	}
	id, err := place.readPid()
	if err != nil {
		return Status{Running: true}, nil // it has the lock and is about to write its pid
	}
	ready, err := os.ReadFile(place.readyFile())
	return Status{Running: true, Ready: err == nil && string(ready) == id.String(), Pid: id.pid}, nil
}

// held reports whether a process holds the lock.
func (p Place) held() (bool, error) {
	file, err := os.Open(p.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.Newf(fault.Invalid, "process.Look", p.subject(), "opening the pid file: %w", err)
	}
	defer file.Close()
	// Asking must not take the lock, not even for a moment: a program that starts just then would find it taken.
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fault.Newf(fault.Internal, "process.Look", p.subject(), "testing the lock: %w", err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

// Signal sends a signal to the program that runs in a place. It is a fault.NotFound when none runs.
func Signal(place Place, signal syscall.Signal) error {
	notRunning := fault.Newf(fault.NotFound, "process.Signal", place.subject(), "it is not running")
	held, err := place.held()
	if err != nil {
		return err
	}
	if !held {
		return notRunning
	}
	id, err := place.readPid()
	if err != nil {
		return fault.Newf(fault.Unavailable, "process.Signal", place.subject(), "it is just starting: %w", err)
	}
	// On Linux the handle is a pidfd: what it names cannot change after the check.
	process, err := os.FindProcess(id.pid)
	if err != nil {
		return fault.New(fault.Internal, "process.Signal", place.subject(), err)
	}
	defer func() { _ = process.Release() }()
	if now, err := identify(id.pid); err != nil || now != id {
		return fault.Newf(fault.Corrupt, "process.Signal", place.subject(),
			"pid %d in the pid file is another process; nothing was signalled", id.pid)
	}
	if err := process.Signal(signal); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return notRunning
		}
		return fault.New(fault.Denied, "process.Signal", place.subject(), err)
	}
	return nil
}

// Stop ends the program in a place and returns when it has ended. One that has not ended by the deadline of
// ctx is killed where kill is set; else Stop is a fault.Unavailable and the program goes on ending.
func Stop(ctx context.Context, place Place, kill bool) error {
	if err := Signal(place, syscall.SIGTERM); err != nil {
		return err
	}
	err := place.awaitEnd(ctx)
	if err == nil || !kill {
		return err
	}
	if err := Signal(place, syscall.SIGKILL); err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the kernel needs a moment
	defer cancel()
	return place.awaitEnd(last)
}

func (p Place) awaitEnd(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		held, err := p.held()
		if err != nil || !held {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Newf(fault.Unavailable, "process.Stop", p.subject(), "it is still running%s; wait longer with --timeout, or end it at once with --kill", p.pidText())
		case <-tick.C:
		}
	}
}
