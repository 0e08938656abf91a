package cachestore

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/keepgate/keepgate/shared/durable"
)

// step is one thing done to the disk, or, with told, one that the cache has said is done at this moment.
type step struct {
	do       string
	path, to string
	data     []byte
	told     func(*promises)
}

// recorder is the real disk without syncing; it writes down what is done to it, and can fail from one step on.
type recorder struct {
	durable.Disk
	steps  *[]step
	failAt int // -1: never
}

type recordedFile struct {
	durable.File
	on   recorder
	path string
}

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
	return recordedFile{f, r, filepath.Base(path)}, err
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

func (r recorder) SyncDir(string) error { return r.note(step{do: "sync names"}) }

func (f recordedFile) Write(data []byte) (int, error) {
	if err := f.on.note(step{do: "write", path: f.path, data: bytes.Clone(data)}); err != nil {
		n, _ := f.File.Write(data[:len(data)/2])
		return n, err
	}
	return f.File.Write(data)
}

func (f recordedFile) Sync() error { return f.on.note(step{do: "sync", path: f.path}) }

// replayed is what the steps have made of a folder: what a killed process leaves, and what is left when the power goes and takes all
// that was not synced.
type replayed struct{ names, durable map[string]*inode }

type inode struct{ content, synced []byte }

func (d *replayed) replay(s step) {
	file := d.names[s.path]
	switch s.do {
	case "create":
		d.names[s.path] = &inode{}
	case "write":
		file.content = slices.Concat(file.content, s.data)
	case "sync":
		file.synced = file.content
	case "rename":
		d.names[s.to] = file
		delete(d.names, s.path)
	case "remove":
		delete(d.names, s.path)
	case "sync names":
		d.durable = maps.Clone(d.names)
	}
}

// lay writes a folder: one of names with all that was written, or with what was synced. When the power goes anything between may
// be left; contents that got down while the names did too, or did not, are the other extremes.
func (d *replayed) lay(t *testing.T, how string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	names := d.names
	if how == "no name" || how == "nothing" {
		names = d.durable
	}
	for name, file := range names {
		content := file.content
		if how == "no content" || how == "nothing" {
			content = file.synced
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
