package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

const lockName = "lock"

// lockFolder makes the folder and takes it for this process; the lock ends with the process, whatever
// ends it. Two data planes in one folder would drop each other's changes.
func lockFolder(dir string, on durable.FS) (*os.File, error) {
	const op = "localstore.Open"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(dir, 0o700), on.SyncDir(filepath.Dir(dir))); err != nil {
			return nil, fault.New(fault.Unavailable, op, dir, err)
		}
	}
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, dir, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		kind := fault.Unavailable
		if errors.Is(err, unix.EWOULDBLOCK) {
			kind, err = fault.Conflict, errors.New("another data plane has this folder")
		}
		return nil, fault.New(kind, op, dir, errors.Join(err, file.Close()))
	}
	return file, nil
}
