// Package secretfile reads files that hold secrets, under one rule: nobody but their owner may read them, since whoever
// read one once has its secret for ever.
package secretfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Read reads a regular file of at most limit bytes that its owner alone may read. The caller clears what it gets.
func Read(path string, limit int64) ([]byte, error) {
	data, _, err := read(path, limit, func(info fs.FileInfo) (string, error) { return "", check(path, info) })
	return data, err
}

// ReadShared is Read for a file of which a group may be told: one of root's may also be readable by its group, which is
// PostgreSQL's rule for its server's key. The notice then says so.
func ReadShared(path string, limit int64) (data []byte, notice string, err error) {
	return read(path, limit, func(info fs.FileInfo) (string, error) {
		mode := info.Mode().Perm()
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == 0 && mode&0o040 != 0 && mode&0o037 == 0 {
			return fmt.Sprintf("%s is readable by group %d (mode %04o)", path, stat.Gid, mode), nil
		}
		return "", check(path, info)
	})
}

func check(path string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o): chmod 600 %s", path, mode, path)
	}
	return nil
}

func read(path string, limit int64, admit func(fs.FileInfo) (notice string, err error)) (data []byte, notice string, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer is refused, and not waited for
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // opened for reading
	info, err := file.Stat()            // of the open file: its name may be replaced meanwhile
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("%s is not a regular file", path)
	}
	if notice, err = admit(info); err != nil {
		return nil, "", err
	}
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	if err != nil {
		clear(data)
		return nil, "", err
	}
	return data, notice, nil
}
