package localstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/durable"
)

// step is one thing done to the disk; acked, when it is not 0, says instead that a version was
// acknowledged at this moment.
type step struct {
	do       string
	path, to string
	data     []byte
	size     int64
	acked    uint64
}

// recorder is the real disk; it writes down what is done to it and can fail at one step.
type recorder struct {
	durable.Disk
	steps  *[]step
	failAt int // -1: never
}

type recordedFile struct {
	durable.File
	on   recorder
	path string
	over *int64 // where the next bytes are written, of a file that is overwritten; nil: at the end
}

var errDisk = errors.New("the disk is on strike")

func (r recorder) note(s step) error {
	*r.steps = append(*r.steps, s)
	if len(*r.steps)-1 == r.failAt {
		return errDisk
	}
	return nil
}

func (r recorder) Create(path string, mode fs.FileMode) (durable.File, error) {
	if err := r.note(step{do: "create", path: filepath.Base(path)}); err != nil {
		return nil, err
	}
	f, err := r.Disk.Create(path, mode)
	return recordedFile{f, r, filepath.Base(path), nil}, err
}

func (r recorder) Append(path string, mode fs.FileMode) (durable.File, error) {
	if err := r.note(step{do: "create", path: filepath.Base(path)}); err != nil {
		return nil, err
	}
	f, err := r.Disk.Append(path, mode)
	return recordedFile{f, r, filepath.Base(path), nil}, err
}

func (r recorder) Overwrite(path string) (durable.File, error) {
	if err := r.note(step{do: "open", path: filepath.Base(path)}); err != nil {
		return nil, err
	}
	f, err := r.Disk.Overwrite(path)
	return recordedFile{f, r, filepath.Base(path), new(int64)}, err
}

func (r recorder) Rename(from, to string) error {
	if err := r.note(step{do: "rename", path: filepath.Base(from), to: filepath.Base(to)}); err != nil {
		return err
	}
	return r.Disk.Rename(from, to)
}

func (r recorder) Remove(path string) error {
	if err := r.note(step{do: "remove", path: filepath.Base(path)}); err != nil {
		return err
	}
	return r.Disk.Remove(path)
}

func (r recorder) SyncDir(path string) error {
	if err := r.note(step{do: "sync names"}); err != nil {
		return err
	}
	return nil // the order is what counts here
}

func (f recordedFile) Write(data []byte) (int, error) {
	s := step{do: "write", path: f.path, data: bytes.Clone(data)}
	if f.over != nil {
		s.do, s.size = "overwrite", *f.over
		*f.over += int64(len(data))
	}
	if err := f.on.note(s); err != nil {
		n, _ := f.File.Write(data[:len(data)/2])
		return n, err
	}
	return f.File.Write(data)
}

func (f recordedFile) Sync() error {
	if err := f.on.note(step{do: "sync", path: f.path}); err != nil {
		return err
	}
	return nil
}

func (f recordedFile) Truncate(size int64) error {
	if err := f.on.note(step{do: "truncate", path: f.path, size: size}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// hasty is the real disk without syncing, for tests that open thousands of stores and cut no power.
type hasty struct{ durable.Disk }

type hastyFile struct{ durable.File }

func (h hasty) Create(path string, mode fs.FileMode) (durable.File, error) {
	f, err := h.Disk.Create(path, mode)
	return hastyFile{f}, err
}

func (h hasty) Append(path string, mode fs.FileMode) (durable.File, error) {
	f, err := h.Disk.Append(path, mode)
	return hastyFile{f}, err
}

func (h hasty) Overwrite(path string) (durable.File, error) {
	f, err := h.Disk.Overwrite(path)
	return hastyFile{f}, err
}

func (hasty) SyncDir(string) error { return nil }
func (hastyFile) Sync() error      { return nil }
func hastily(o localstore.Options) localstore.Options {
	o.FS = hasty{}
	return o
}
