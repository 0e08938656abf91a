package enrol

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keepgate/keepgate/shared/durable"
)

// destroy removes what is chosen of the folder, and goes on where something fails. A generation loses its name first,
// so that nobody finds half of one.
func (f *Folder) destroy(chosen func(name string) bool) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var failures []error
	var doomed []string
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || !chosen(name) {
			continue
		}
		path := filepath.Join(f.dir, name)
		if _, whole := numberOf(name); whole {
			gone := filepath.Join(f.dir, partPrefix+rand.Text())
			if err := f.on.Rename(path, gone); err == nil {
				path = gone
			} else {
				failures = append(failures, err)
			}
		}
		doomed = append(doomed, path)
	}
	failures = append(failures, f.on.SyncDir(f.dir))
	for _, path := range doomed {
		failures = append(failures, f.destroyFolder(path))
	}
	return errors.Join(append(failures, f.on.SyncDir(f.dir))...)
}

// destroyFolder overwrites the keys of a generation and removes it.
func (f *Folder) destroyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	failures := []error{err}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.Name() == keyName || strings.HasPrefix(entry.Name(), keyName) && strings.HasSuffix(entry.Name(), durable.TemporarySuffix) {
			failures = append(failures, overwrite(path))
		}
		failures = append(failures, f.on.Remove(path))
	}
	return errors.Join(append(failures, f.on.Remove(dir))...)
}

// overwrite writes zeros over a key, and sees them down.
func overwrite(path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	if _, err := file.Write(make([]byte, min(info.Size(), maxKept))); err != nil {
		return err
	}
	return file.Sync()
}
