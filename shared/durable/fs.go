package durable

import (
	"io"
	"io/fs"
	"os"
)

// FS is what this package does to a disk. Only tests have another one than [Disk]: one that fails,
// writes short, or records what was done, to replay a crash after any step.
type FS interface {
	// Create opens a new file for writing and fails when the name is taken.
	Create(path string, mode fs.FileMode) (File, error)
	// Append opens a file for writing at its end, creating it where missing.
	Append(path string, mode fs.FileMode) (File, error)
	// Overwrite opens a file that is there for writing from its start, and keeps what lies behind what is written.
	Overwrite(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes names that were created, renamed or removed in the folder survive a loss of power.
	SyncDir(path string) error
}

// File is an open file of an FS.
type File interface {
	io.Writer
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// Disk is the real file system.
type Disk struct{}

// Create implements FS.
func (Disk) Create(path string, mode fs.FileMode) (File, error) {
	return open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// Append implements FS.
func (Disk) Append(path string, mode fs.FileMode) (File, error) {
	return open(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
}

// Overwrite implements FS.
func (Disk) Overwrite(path string) (File, error) { return open(path, os.O_WRONLY, 0) }

// Rename implements FS.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (Disk) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (Disk) SyncDir(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// open keeps a nil *os.File out of the interface.
func open(path string, flags int, mode fs.FileMode) (File, error) {
	file, err := os.OpenFile(path, flags, mode)
	if err != nil {
		return nil, err
	}
	return file, nil
}
