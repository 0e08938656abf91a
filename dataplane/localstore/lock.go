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

// keepFolder makes the folder again, and takes it again, when somebody removed it meanwhile.
func (s *Store) keepFolder() error {
	held, err := s.lock.Stat()
	if err != nil {
		return fault.New(fault.Unavailable, "localstore.Replace", s.dir, err)
	}
	if there, err := os.Stat(s.path(lockName)); err == nil && os.SameFile(held, there) {
		return nil
	}
	lock, err := lockFolder(s.dir, s.options.FS)
	if err != nil {
		return err
	}
	unlock(s.lock) // nothing was written to it, and nobody can find it
	s.lock = lock
	s.options.Log.Warn("the folder of the local store was removed while in use; it is made again", "folder", s.dir)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// unlock gives the folder to other processes. It does not leave that to the closing of the file: a child that is
// being started at this moment has the descriptor too, and would hold the lock until it runs its program.
func unlock(lock *os.File) error {
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}

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
