package cachestore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

const lockName = "lock"

// Rekey has the cache go on under other keys. What only former ones open is dropped: it is a cache, and sealing all of it again
// would cost more than filling it.
func (c *Cache) Rekey(keys Keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.options.Keys = keys
	d := c.disk.Load()
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys = keys
	d.close() // what is written from here on is sealed by the new keys
	for _, s := range append([]*segment(nil), d.order...) {
		if _, stale, err := keys.OpenDataKey(d.suite(), d.section(), s.name(), s.wrapped); err != nil || stale {
			d.dropWhere(func(one slot) bool { return one.segment == s.number })
			d.dropSegment(s)
		}
	}
	d.savePurges(c.count.Load(), c.done)
}

// Erase destroys what the cache holds, on the disk its keys first, and keeps nothing any more.
func (c *Cache) Erase() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.over.Store(true)
	c.absent.Store(false)
	c.count.Add(1) // whoever is about to keep something keeps nothing
	c.memory.purge(Labels{})
	d := c.disk.Load()
	if d == nil {
		return Erase(c.options.Folder)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.dropWhere(func(slot) bool { return true })
	d.close()
	err := erase(d.dir, d.options.FS)
	for _, s := range append([]*segment(nil), d.order...) {
		d.dropSegment(s)
	}
	return err
}

// Erase destroys what is kept in a folder, without its keys. A folder that is not there holds nothing.
func Erase(dir string) error {
	switch _, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(fault.Unavailable, "cachestore.Erase", dir, err)
	}
	lock, err := lockFolder(dir, durable.Disk{})
	if err != nil {
		return err
	}
	return errors.Join(erase(dir, durable.Disk{}), unlock(lock))
}

// erase overwrites the keys of all files and removes them, and goes on where one fails.
func erase(dir string, on durable.FS) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "cachestore.Erase", dir, err)
	}
	var failures []error
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), segmentPrefix) && !strings.HasPrefix(file.Name(), purgesName) {
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
		return fault.New(fault.Unavailable, "cachestore.Erase", dir, err)
	}
	return nil
}

// overwrite writes zeros over a file's header, which holds its key, and sees them down.
func overwrite(path string) (err error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteAt(make([]byte, 4<<10), 0); err != nil {
		return err
	}
	return file.Sync()
}

// Close gives the folder to other processes, after Run has returned.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	d := c.disk.Swap(nil)
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.close()
	for _, s := range d.order {
		_ = s.file.Close() // it was only read
	}
	if err := unlock(d.lock); err != nil {
		return fault.New(fault.Unavailable, "cachestore.Close", d.dir, err)
	}
	return nil
}

// lockFolder makes the folder, for this user alone, and takes it for this process; the lock ends with the process.
func lockFolder(dir string, on durable.FS) (*os.File, error) {
	const op = "cachestore.Open"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(os.MkdirAll(dir, 0o700), on.SyncDir(filepath.Dir(dir))); err != nil {
			return nil, fault.New(fault.Unavailable, op, dir, err)
		}
	} else if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fault.New(fault.Unavailable, op, dir, err)
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

// unlock does not leave it to the closing of the file: a child that is being started at this moment has the descriptor too.
func unlock(lock *os.File) error {
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}
