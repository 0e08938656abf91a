package secretbackend

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/keepgate/keepgate/shared/fault"
)

// files reads the files below a folder. Symbolic links lead to others of them and not out of it.
type files struct {
	folder string
	below  []string
	keeps  func() Keeps
}

// Keeps says of an open file whether it is for somebody else: then it is denied.
type Keeps func(fs.FileInfo) bool

// Files reads the files below a folder, or below a folder within it that each of below leads one further to; links lead out of none
// of them. keeps is asked before each look; nil: nothing is for somebody else.
func Files(folder string, below []string, keeps func() Keeps) Backend {
	if keeps == nil {
		keeps = func() Keeps { return func(fs.FileInfo) bool { return false } }
	}
	return files{folder: folder, below: below, keeps: keeps}
}

// Read implements [Backend]. Of a secret that is a folder, as where Kubernetes mounts one, the fields are its files.
func (f files) Read(_ context.Context, name string, version int, fields []string) (map[string]Field, error) {
	if version != 0 {
		return nil, failed(fault.Invalid, "files have no versions")
	}
	keeps := f.keeps()
	root, err := f.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // read only
	if info, err := root.Stat(name); err == nil && info.IsDir() {
		return folder(root, name, fields, keeps)
	}
	data, err := read(root, name, keeps)
	if err != nil {
		return nil, err
	}
	return fieldsOf(data, fields), nil
}

func (f files) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.folder)
	if err != nil {
		return nil, failed(fault.Unavailable, "the folder of vault_file_folder cannot be opened: %s", why(err))
	}
	for _, name := range f.below {
		next, err := root.OpenRoot(name)
		_ = root.Close() // read only
		if errors.Is(err, fs.ErrNotExist) {
			return nil, failed(fault.NotFound, "there is no folder for this vault")
		}
		if err != nil {
			return nil, failed(fault.Unavailable, "the vault's folder cannot be opened: %s", why(err))
		}
		root = next
	}
	return root, nil
}

// folder reads files of a folder.
func folder(root *os.Root, name string, fields []string, keeps Keeps) (map[string]Field, error) {
	found := make(map[string]Field, len(fields))
	for _, one := range fields {
		if one == "" || strings.Contains(one, "/") {
			found[one] = Field{Fault: "it is a folder: a file of it has to be named"}
			continue
		}
		data, err := read(root, name+"/"+one, keeps)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			found[one] = Field{Fault: NoMember}
		case err != nil:
			return nil, err
		default:
			found[one] = field(data)
		}
	}
	return found, nil
}

// read reads a file, without the line break at its end that an editor leaves. An empty file is being written.
func read(root *os.Root, name string, keeps Keeps) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0) // what is no file must not hold us up
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed(fault.NotFound, "there is no such file")
	}
	if err != nil {
		return nil, failed(fault.Denied, "the file cannot be opened: %s", why(err))
	}
	defer func() { _ = file.Close() }() // read only
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxValue+2 {
		return nil, failed(fault.Denied, "it is no regular file, or a very long one")
	}
	if keeps(info) {
		return nil, failed(fault.Denied, "the file is for a setting of this node, and so for nobody else")
	}
	data, err := io.ReadAll(io.LimitReader(file, maxValue+3))
	if err != nil {
		clear(data)
		return nil, failed(fault.Unavailable, "the file cannot be read: %s", why(err))
	}
	if line, broken := bytes.CutSuffix(data, []byte("\n")); broken {
		data = bytes.TrimSuffix(line, []byte("\r"))
	}
	if len(data) == 0 {
		return nil, failed(fault.Corrupt, "the file is empty")
	}
	return data, nil
}

// why is an error of the file system without the path.
func why(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return "it is not to be used"
}

// Close implements [Backend].
func (files) Close() {}
