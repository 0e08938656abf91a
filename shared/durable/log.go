package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/keepgate/keepgate/shared/fault"
)

// Log appends to a file. What [Log.Append] has taken survives a loss of power. It gives no structure:
// after a crash the file may end with a part of the last, unacknowledged append, or with bytes that were
// never written, and the owner's format must show where the good part ends.
type Log struct {
	path string

	mu     sync.Mutex
	file   File  // guarded by mu; nil when closed
	broken error // the failure that ended this log; guarded by mu
}

// KeepAll as a size keeps the whole file.
const KeepAll = -1

// OpenLog opens the file for appending after its first size bytes, which the caller has found good, and
// drops the rest; KeepAll drops nothing. A missing file is created.
func OpenLog(path string, mode fs.FileMode, size int64) (*Log, error) {
	return OpenLogOn(Disk{}, path, mode, size)
}

// OpenLogOn is OpenLog on another file system than the real one.
func OpenLogOn(on FS, path string, mode fs.FileMode, size int64) (*Log, error) {
	file, err := on.Append(path, mode)
	if err != nil {
		return nil, failed("durable.OpenLog", path, fmt.Errorf("opening: %w", err))
	}
	if err := settle(on, file, path, size); err != nil {
		return nil, failed("durable.OpenLog", path, errors.Join(err, file.Close()))
	}
	return &Log{path: path, file: file}, nil
}

// settle drops the tail and makes that, and the file's name, durable: an append that is acknowledged
// must not lie in a file that a crash can take away, nor behind a tail that it can bring back.
func settle(on FS, file File, path string, size int64) error {
	if size != KeepAll {
		if err := file.Truncate(size); err != nil {
			return fmt.Errorf("dropping the tail: %w", err)
		}
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	if err := on.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("syncing the folder: %w", err)
	}
	return nil
}

// Append writes data at the end and returns when it is on the disk. After any failure the log is poisoned
// and takes nothing more: a failed write may have left a part, and after a failed fsync the kernel
// may call lost pages clean, so that trying again would succeed without the bytes being there. Reopening
// means reading the file again first.
func (l *Log) Append(data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return fault.Newf(fault.Unavailable, "durable.Append", l.path, "the log is closed")
	}
	if l.broken != nil {
		return fault.Newf(fault.Unavailable, "durable.Append", l.path, "an earlier append failed: %w", l.broken)
	}
	if err := l.append(data); err != nil {
		l.broken = err
		return failed("durable.Append", l.path, err)
	}
	return nil
}

func (l *Log) append(data []byte) error {
	n, err := l.file.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}

// Close closes the file. It syncs nothing: what was acknowledged is already down.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return failed("durable.Close", l.path, err)
	}
	return nil
}
