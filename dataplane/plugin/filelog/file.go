package filelog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxWaiting    = 8 << 20 // bytes of records that wait for one file
	maxRecordKept = 64 << 10
	complainEvery = time.Minute
	unusedAfter   = time.Minute
)

// file is one path and the records that wait for it.
type file struct {
	path    string
	reopen  bool // opened for each batch
	dropped atomic.Uint64

	mu      sync.Mutex
	waiting []byte // guarded by mu

	// Guarded by the kind's writing.
	spare     []byte // the other buffer, while one is written
	out       *os.File
	used      time.Time
	complaint time.Time
	lost      uint64 // as of the last complaint
}

// add appends a record and says whether it is the first that waits, and whether there was room for it.
func (f *file) add(record []byte) (first, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting)+len(record) > maxWaiting {
		return false, false
	}
	first = len(f.waiting) == 0
	f.waiting = append(f.waiting, record...)
	return first, true
}

// write empties the buffers of all files that have something.
func (k *Kind) write() {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	full := k.full
	k.full = k.spare
	k.mu.Unlock()
	defer func() { clear(full); k.spare = full[:0] }()
	for _, f := range full {
		f.mu.Lock()
		batch := f.waiting
		f.waiting = f.spare[:0]
		f.mu.Unlock()
		if err := k.writeBatch(f, batch); err != nil {
			lines := uint64(bytes.Count(batch, []byte{'\n'}))
			k.dropped.Add(lines)
			f.dropped.Add(lines)
			k.shut(f)
			k.complain(f, err)
		} else if f.dropped.Load() > f.lost {
			k.complain(f, errors.New("records came faster than they were written"))
		}
		if f.spare = batch; cap(batch) > maxWaiting/4 {
			f.spare = nil
		}
	}
}

func (k *Kind) writeBatch(f *file, batch []byte) error {
	if f.out == nil {
		out, err := openLog(k.prefix, f.path)
		if err != nil {
			return err
		}
		f.out = out
		k.open[f] = struct{}{}
	}
	f.used = time.Now()
	_, err := f.out.Write(batch)
	if f.reopen {
		k.shut(f)
	}
	return err
}

// complain tells of losses, once a minute for each file. k.writing is held.
func (k *Kind) complain(f *file, err error) {
	if now := time.Now(); now.Sub(f.complaint) >= complainEvery {
		total := f.dropped.Load()
		k.log.Error("file-log lost records", "path", f.path, "lost", total-f.lost, "error", err)
		f.complaint, f.lost = now, total
	}
}

// shut closes a file. k.writing is held.
func (k *Kind) shut(f *file) {
	if f.out != nil {
		_ = f.out.Close()
		f.out = nil
	}
	delete(k.open, f)
}

func (k *Kind) closeAll() {
	k.writing.Lock()
	defer k.writing.Unlock()
	for f := range k.open {
		k.shut(f)
	}
}

// closeUnused closes the files that got nothing for a while, as those of configurations that are gone.
func (k *Kind) closeUnused() {
	k.writing.Lock()
	defer k.writing.Unlock()
	for f := range k.open {
		if time.Since(f.used) > unusedAfter {
			k.shut(f)
		}
	}
}

// place says which file a configured path means. Below the prefix lie this node's keys and its store, so that only
// what is called a log is one there.
func place(prefix, path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", errors.New("path is empty or holds a NUL")
	}
	if !filepath.IsAbs(path) {
		if !filepath.IsLocal(path) {
			return "", errors.New("path leads out of the prefix")
		}
		path = filepath.Join(prefix, path)
	}
	path = filepath.Clean(path)
	inside, err := filepath.Rel(prefix, path)
	if err == nil && filepath.IsLocal(inside) && !strings.HasSuffix(path, ".log") && !strings.HasPrefix(inside, "logs"+string(filepath.Separator)) {
		return "", errors.New("below the prefix a log's path ends in .log or lies in logs/")
	}
	return path, nil
}

// openLog opens a file to append to. A regular file that holds something else than records is refused: who may write
// configurations must not be able to spoil every file of this process.
func openLog(prefix, path string) (*os.File, error) {
	if _, err := place(really(prefix), really(path)); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	if err := check(out); err != nil {
		_ = out.Close()
		return nil, err
	}
	return out, nil
}

// really is where a path leads: /proc/self/cwd/x is a file of the prefix too. What is not there yet is in its folder.
func really(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if folder, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(folder, filepath.Base(path))
	}
	return path
}

func check(out *os.File) error {
	about, err := out.Stat()
	if err != nil || !about.Mode().IsRegular() || about.Size() == 0 {
		return err
	}
	in, err := os.Open(out.Name())
	if err != nil {
		return fmt.Errorf("reading what it holds: %w", err)
	}
	defer in.Close()
	var first [1]byte
	if _, err := io.ReadFull(in, first[:]); err != nil {
		return fmt.Errorf("reading what it holds: %w", err)
	}
	if first[0] != '{' {
		return errors.New("the file holds something else than records")
	}
	return nil
}
