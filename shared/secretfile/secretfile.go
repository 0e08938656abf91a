// Package secretfile reads files that hold secrets, under one rule for all: whoever read one once has its secret for ever, so
// one that others may read is refused. docs/secret-files.md tells operators.
//
//   - Of a file's mode its owner's part alone may be set: 0600 or less.
//   - One of root's may be readable by its group too: 0640 or less. That is PostgreSQL's rule for its server's key, and how a
//     Secret of Kubernetes comes with fsGroup and defaultMode 0440.
//   - One of root's that everybody may read, and none but root write, passes where it lies in memory and is mounted to be read alone
//     (a tmpfs with the flag ro): so Kubernetes and Docker mount secrets when no mode is asked for, and only what runs in that
//     container sees the mount.
//
// What passes by the second or third is told in a notice. What counts is the file that was opened, whatever links lead to it.
package secretfile

import (
	"crypto/tls"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// OpenError says that others may read a file.
type OpenError struct {
	Path string
	Mode fs.FileMode
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("%s is open to others (mode %04o): %s", e.Path, e.Mode, e.Mend())
}

// Mend is the command that ends it.
func (e *OpenError) Mend() string { return "chmod 600 " + e.Path }

// Text is what a file holds. Whoever has it clears Data.
type Text struct {
	Data   []byte
	Mode   fs.FileMode
	Notice string // that more than its owner may read it, which is admitted
	Open   error  // an [*OpenError] where others may read it; else nil
}

// Read reads a regular file of at most limit bytes. It refuses one that others may read.
func Read(path string, limit int64) (data []byte, notice string, err error) {
	text, err := ReadAny(path, limit)
	if err == nil {
		err = text.Open
	}
	if err != nil {
		clear(text.Data)
		return nil, "", err
	}
	return text.Data, text.Notice, nil
}

// ReadAny is Read for a file that may turn out to hold no secret: it refuses none, and leaves that to whoever has looked.
func ReadAny(path string, limit int64) (Text, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer is refused, and not waited for
	if err != nil {
		return Text{}, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	text, err := judge(path, file)      // the open file: its name may be replaced meanwhile
	if err != nil {
		return Text{}, err
	}
	text.Data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text.Data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	if err != nil {
		clear(text.Data)
		return Text{}, err
	}
	return text, nil
}

// KeyPair reads a certificate and, by the rule, its private key.
func KeyPair(cert, key string) (pair tls.Certificate, notice string, err error) {
	const most = 1 << 20
	chain, err := ReadAny(cert, most)
	if err != nil {
		return pair, "", err
	}
	data, notice, err := Read(key, most)
	if err != nil {
		return pair, "", fmt.Errorf("private key: %w", err)
	}
	defer clear(data)
	pair, err = tls.X509KeyPair(chain.Data, data)
	return pair, notice, err
}

func judge(path string, file *os.File) (Text, error) {
	info, err := file.Stat()
	if err != nil {
		return Text{}, err
	}
	if !info.Mode().IsRegular() {
		return Text{}, fmt.Errorf("%s is not a regular file", path)
	}
	owner, group := -1, -1
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner, group = int(stat.Uid), int(stat.Gid)
	}
	text := Text{Mode: info.Mode().Perm()}
	switch who(text.Mode, owner == 0, func() bool { return mounted(file) }) {
	case ofAll:
		text.Open = &OpenError{path, text.Mode}
	case ofGroup:
		text.Notice = fmt.Sprintf("%s is readable by group %d (mode %04o); chmod 600 it unless that group is meant to", path, group, text.Mode)
	case ofMount:
		text.Notice = fmt.Sprintf("%s is readable by every user of this container (mode %04o); mount it with defaultMode 0440 and an fsGroup", path, text.Mode)
	}
	return text, nil
}

// readers are those who may read a file.
type readers int

const (
	ofOwner readers = iota
	ofGroup         // whom root chose
	ofMount         // who sees the mount
	ofAll
)

func who(mode fs.FileMode, roots bool, mounted func() bool) readers {
	switch {
	case mode&0o077 == 0:
		return ofOwner
	case roots && mode&0o037 == 0:
		return ofGroup
	case roots && mode&0o033 == 0 && mounted():
		return ofMount
	}
	return ofAll
}

// mounted says whether a file lies in memory and nobody can write it there.
func mounted(file *os.File) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return false
	}
	return (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC) && fs.Flags&unix.ST_RDONLY != 0
}
