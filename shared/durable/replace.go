// Package durable changes files so that a crash or a loss of power leaves either the old content or the
// new one: [Replace] for whole files, [Log] for a file that grows.
//
// It promises what fsync promises on a local file system: bytes are down when fsync has returned nil, a
// name is down when its directory was synced after the rename. It does not check what it wrote; those
// who read put checksums into their formats. On network file systems nothing is promised.
//
// It is written here rather than taken from renameio because that does not sync the directory, and
// because the tests of formats need to stand between the format and the disk: that is what [FS] is for.
package durable

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/keepgate/keepgate/shared/fault"
)

// Replace writes a file whole or not at all: to a new file beside path, synced and renamed over path,
// whose directory is then synced. When it fails, path is as it was, except that after a failed sync of
// the directory (the last step) a loss of power may bring back the old content.
func Replace(path string, mode fs.FileMode, write func(io.Writer) error) error {
	return ReplaceOn(Disk{}, path, mode, write)
}

// WriteFile is Replace with data.
func WriteFile(path string, mode fs.FileMode, data []byte) error {
	return Replace(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Absent refuses to overwrite anything: it fails where one of the paths leads to something.
func Absent(paths ...string) error {
	for _, path := range paths {
		switch _, err := os.Lstat(path); {
		case err == nil:
			return fmt.Errorf("%s is there already: nothing was changed", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// ReplaceOn is Replace on another file system than the real one.
func ReplaceOn(on FS, path string, mode fs.FileMode, write func(io.Writer) error) error {
	temporary := fmt.Sprintf("%s.%s%s", path, rand.Text(), TemporarySuffix)
	if err := writeNew(on, temporary, mode, write); err != nil {
		on.Remove(temporary) // a leftover is found by its suffix
		return failed("durable.Replace", path, err)
	}
	if err := on.Rename(temporary, path); err != nil {
		on.Remove(temporary) // as above
		return failed("durable.Replace", path, fmt.Errorf("renaming: %w", err))
	}
	if err := on.SyncDir(filepath.Dir(path)); err != nil {
		return failed("durable.Replace", path, fmt.Errorf("syncing the folder: %w", err))
	}
	return nil
}

// TemporarySuffix ends the names of files that Replace had not finished when the process died. Whoever
// owns a folder may remove them while no other process writes there.
const TemporarySuffix = ".tmp"

func writeNew(on FS, path string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	file, err := on.Create(path, mode)
	if err != nil {
		return fmt.Errorf("creating: %w", err)
	}
	defer func() {
		if closeErr := file.Close(); closeErr != nil && err == nil {
			err = fmt.Errorf("closing: %w", closeErr)
		}
	}()
	buffer := bufio.NewWriterSize(file, 1<<16)
	if err := write(buffer); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := buffer.Flush(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	return nil
}

// failed keeps the kind that the writer's own fault has; a fault of the disk may pass: Unavailable.
func failed(op, path string, err error) error {
	if own, ok := errors.AsType[*fault.Error](err); ok {
		return fault.New(own.Kind, op, path, err)
	}
	return fault.New(fault.Unavailable, op, path, err)
}
