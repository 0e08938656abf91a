package process

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings"
)

// Instance is this process as the one that runs in its place.
type Instance struct {
	place   Place
	file    *os.File // holds the lock
	reloads chan struct{}
	reread  func() (*settings.Loaded, error) // nil where no command line made the instance
}

// Hold makes this process the one that runs in a place. It is a fault.Conflict when one runs already.
func Hold(place Place) (*Instance, error) {
	return hold(place, make(chan struct{}, 1))
}

func hold(place Place, reloads chan struct{}) (*Instance, error) {
	if err := place.prepare(); err != nil {
		return nil, err
	}
	own, err := identify(os.Getpid())
	if err != nil {
		return nil, fault.New(fault.Internal, "process.Hold", place.subject(), err)
	}
	file, err := place.lock()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(0), ignoreMissing(os.Remove(place.readyFile()))); err != nil {
		return nil, fault.New(fault.Internal, "process.Hold", place.subject(), errors.Join(err, file.Close()))
	}
	if _, err := file.WriteAt([]byte(own.String()), 0); err != nil {
		return nil, fault.New(fault.Internal, "process.Hold", place.subject(), errors.Join(err, file.Close()))
	}
	return &Instance{place: place, file: file, reloads: reloads}, nil
}

// lock opens and locks the pid file. The one who ends removes the file while holding the lock, so a lock
// only counts when the file is still the one with that name.
func (p Place) lock() (*os.File, error) {
	for {
		file, err := os.OpenFile(p.pidFile(), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fault.Newf(fault.Invalid, "process.Hold", p.subject(), "opening the pid file: %w", err)
		}
		err = unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			_ = file.Close()
			return nil, fault.Newf(fault.Conflict, "process.Hold", p.subject(), "it is already running%s", p.pidText())
		}
		if err != nil {
			return nil, fault.Newf(fault.Internal, "process.Hold", p.subject(), "locking the pid file: %w", errors.Join(err, file.Close()))
		}
		if same(file, p.pidFile()) {
			return file, nil
		}
		_ = file.Close() // it was removed between opening and locking: take the new one
	}
}

func same(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(opened, named)
}

func (p Place) pidText() string {
	if id, err := p.readPid(); err == nil {
		return fmt.Sprintf(" (pid %d)", id.pid)
	}
	return ""
}

func (p Place) readPid() (identity, error) {
	data, err := os.ReadFile(p.pidFile())
	if err != nil {
		return identity{}, err
	}
	return parseIdentity(string(data))
}

// Ready tells those who wait that the program serves.
func (i *Instance) Ready() error {
	own, err := identify(os.Getpid())
	if err == nil {
		err = os.WriteFile(i.place.readyFile(), []byte(own.String()), 0o644)
	}
	if err != nil {
		return fault.New(fault.Internal, "process.Ready", i.place.subject(), err)
	}
	return nil
}

// Reloads delivers a value for each request to reload, of which several may come as one.
func (i *Instance) Reloads() <-chan struct{} { return i.reloads }

// Reread reads the settings once more from where this process has them, for one who answers a reload. What it
// returns is not in effect.
func (i *Instance) Reread() (*settings.Loaded, error) {
	if i.reread == nil {
		return nil, fault.Newf(fault.Invalid, "process.Reread", i.place.subject(), "it was not started from a command line")
	}
	return i.reread()
}

// Place is where the instance runs.
func (i *Instance) Place() Place { return i.place }

// Release ends the hold. The lock would end with the process anyway; this also takes the files away.
func (i *Instance) Release() error {
	err := errors.Join(ignoreMissing(os.Remove(i.place.readyFile())), ignoreMissing(os.Remove(i.place.pidFile())), i.file.Close())
	if err != nil {
		return fault.New(fault.Internal, "process.Release", i.place.subject(), err)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
