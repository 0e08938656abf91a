package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
)

// lock takes a file beside the database, which holds the owner's process id for whoever is refused. It is
// not the database file itself: closing that would drop the locks SQLite has on it (fcntl(2), POSIX record
// locks). The kernel drops this one when the process ends, however it ends.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "sqlite.Open", "", fmt.Errorf("opening the lock file: %w", err))
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		owner, _ := io.ReadAll(io.LimitReader(file, 32))
		return nil, errors.Join(fault.Newf(fault.Conflict, "sqlite.Open", "",
			"another control plane (process %s) has this database; several control-plane nodes need PostgreSQL",
			strings.TrimSpace(string(owner))), file.Close())
	case err != nil:
		return nil, errors.Join(fault.New(fault.Unavailable, "sqlite.Open", "", fmt.Errorf("locking: %w", err)), file.Close())
	}
	if err := errors.Join(file.Truncate(0), writeOwner(file)); err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "sqlite.Open", "", err), file.Close())
	}
	return file, nil
}

// unlock gives the database to other processes. It does not leave that to the closing of the file: a child that is
// being started at this moment has the descriptor too, and would hold the lock until it runs its program.
func unlock(lock *os.File) error {
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}

func writeOwner(file *os.File) error {
	_, err := fmt.Fprintf(file, "%d\n", os.Getpid())
	return err
}
