package localstore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

// Rekey seals all that is written from now on under keys, which still open what is there. The data keys of what was
// written before stay wrapped as they are: two calls of Replace later nothing needs the former keys any more.
func (s *Store) Rekey(keys Keys) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Keys = keys
	if s.current != nil {
		s.current.journal.options.Keys = keys
	}
}

// Erase destroys what the store holds: the wrapped data keys are overwritten on the disk, without which the rest is
// noise, and the files are removed. What is not sealed is overwritten whole, and so are the scoped keys that were
// remembered. Nothing can be kept afterwards.
func (s *Store) Erase() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.log.Close() // it goes
		s.current = nil
	}
	s.erased, s.standby, s.sealed = true, 0, nil
	s.report = Report{Mode: s.options.Mode}
	return erase(s.dir, s.options.FS)
}

// Erase destroys what the store in dir holds, as [Store.Erase] does, without its keys. A folder that is not there
// holds nothing.
func Erase(dir string) error {
	if !exists(dir) {
		return nil
	}
	lock, err := lockFolder(dir, durable.Disk{})
	if err != nil {
		return err
	}
	return errors.Join(erase(dir, durable.Disk{}), unlock(lock))
}

// erase goes through all files of a store, those that were set aside or not finished too, and goes on where one fails.
func erase(dir string, on durable.FS) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "localstore.Erase", dir, err)
	}
	var failures []error
	for _, file := range files {
		if !isStored(file.Name()) && !isKeys(file.Name()) {
			continue
		}
		path := filepath.Join(dir, file.Name())
		if file.Type().IsRegular() {
			failures = append(failures, overwrite(on, path, keysEnd))
		}
		failures = append(failures, on.Remove(path))
	}
	failures = append(failures, on.SyncDir(dir))
	if err := errors.Join(failures...); err != nil {
		return fault.New(fault.Unavailable, "localstore.Erase", dir, err)
	}
	return nil
}

// overwrite writes zeros over the beginning of a file, and sees them down.
func overwrite(on durable.FS, path string, end func(path string) (int64, error)) (err error) {
	size, err := end(path)
	if err != nil {
		return err
	}
	file, err := on.Overwrite(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.CopyN(file, zeros{}, size); err != nil {
		return err
	}
	return file.Sync()
}

func wholeFile(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// keysEnd is where everything that opens a file has ended. The header of a sealed snapshot holds every key; of other files it
// is the end.
func keysEnd(path string) (int64, error) {
	if strings.HasPrefix(filepath.Base(path), snapshotPrefix) {
		file, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		defer file.Close() // only read from
		if body, _, size, err := readHeader(file, snapshotMagic); err == nil && len(body) > 0 && body[0] != Off.code() {
			return int64(size), nil
		}
	}
	return wholeFile(path)
}

type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}
