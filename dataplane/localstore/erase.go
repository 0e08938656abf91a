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
			failures = append(failures, overwrite(path))
		}
		failures = append(failures, on.Remove(path))
	}
	failures = append(failures, on.SyncDir(dir))
	if err := errors.Join(failures...); err != nil {
		return fault.New(fault.Unavailable, "localstore.Erase", dir, err)
	}
	return nil
}

// overwrite writes zeros over all that opens a file, and sees them down.
func overwrite(path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if strings.HasPrefix(filepath.Base(path), snapshotPrefix) {
		body, _, header, headerErr := readHeader(file, snapshotMagic)
		if headerErr == nil && len(body) > 0 && body[0] != 0 { // sealed: the header holds every key
			size = int64(header)
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.CopyN(file, zeros{}, size); err != nil {
		return err
	}
	return file.Sync()
}

type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}
