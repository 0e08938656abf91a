package heads

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	fileMode = 0o600
	// spare is how many lines the file may have beyond twice what is kept before it is written anew.
	spare = 512
	// maxFile is more than any file of this form has; a bigger one is not read.
	maxFile = 256 << 20
	// damagedSuffix is added to the name of a file that had damaged lines.
	damagedSuffix = ".damaged"
)

// file is where a book lies: lines are appended, and now and then it is written anew with what is kept.
// Only the last line can be broken by a crash; it was not acknowledged to anybody.
type file struct {
	path    string // "": the book is in memory alone
	log     *durable.Log
	lines   int
	waiting [][]byte // lines that are not in the file yet
}

func (f *file) add(h Held) {
	if f.path != "" {
		f.waiting = append(f.waiting, h.Encode())
	}
}

// Open reads a book, or begins one where there is no file. Lines that are no heads are named and left out,
// and the file is kept beside as ".damaged"; the book is good without them. A path of "" keeps the book in memory.
func Open(path string) (b *Book, damage []string, err error) {
	b = &Book{nodes: map[name]*journal{}, file: file{path: path}}
	if path == "" {
		return b, nil, nil
	}
	data, err := load(path)
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, "heads.Open", path, err)
	}
	if damage = b.read(data); len(damage) > 0 {
		_ = os.Link(path, path+damagedSuffix) // the first damaged file stays to be looked at; an older one is as good
	}
	if err := b.rewrite(); err != nil { // and say now, not at the first head, that it cannot be written
		return nil, nil, err
	}
	return b, damage, nil
}

func load(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("it is no file of heads: %v, %d bytes", info.Mode().Type(), info.Size())
	}
	return os.ReadFile(path)
}

// Read returns the heads of a file as an auditor got it, without changing it.
func Read(path string) (all []Held, damage []string, err error) {
	data, err := load(path)
	if err == nil && data == nil {
		err = errors.New("it is not there, or empty")
	}
	if err != nil {
		return nil, nil, fault.New(fault.Invalid, "heads.Read", path, err)
	}
	b := &Book{nodes: map[name]*journal{}}
	damage = b.read(data)
	return b.all(), damage, nil
}

// read takes over the lines of a file.
func (b *Book) read(data []byte) (damage []string) {
	for number := 1; len(data) > 0; number++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		if !whole {
			return damage // what a crash cut off
		}
		h, err := ParseHeld(text)
		if err != nil {
			if damage = append(damage, fmt.Sprintf("line %d: %v", number, err)); len(damage) > 100 {
				return append(damage, "and more")
			}
			continue
		}
		b.restore(h)
	}
	return damage
}

func (b *Book) restore(h Held) {
	key := name{h.Cluster, h.Node}
	j := b.nodes[key]
	if h.Conflict && j != nil {
		j.evidence(h)
		return
	}
	b.take(h)
}

// Flush makes what was taken durable. After a failure it writes the whole book anew the next time.
func (b *Book) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file.path == "" || len(b.file.waiting) == 0 {
		return nil
	}
	if b.file.log == nil {
		return b.rewrite()
	}
	if err := b.file.append(); err != nil {
		return errors.Join(err, b.file.close())
	}
	if b.file.lines > spare {
		return b.rewrite()
	}
	return nil
}

func (f *file) append() error {
	text := bytes.Join(append(f.waiting, nil), []byte("\n"))
	if err := f.log.Append(text); err != nil {
		return err
	}
	f.lines += len(f.waiting)
	f.waiting = nil
	return nil
}

// rewrite replaces the file with what is kept.
func (b *Book) rewrite() error {
	all := b.all()
	if err := b.file.close(); err != nil {
		return err
	}
	err := durable.Replace(b.file.path, fileMode, func(w io.Writer) error {
		for _, h := range all {
			if _, err := w.Write(append(h.Encode(), '\n')); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.file.waiting, b.file.lines = nil, -len(all) // as many again, and spare, before the next time
	b.file.log, err = durable.OpenLog(b.file.path, fileMode, durable.KeepAll)
	return err
}

func (f *file) close() error {
	log := f.log
	if f.log = nil; log == nil {
		return nil
	}
	return log.Close()
}

// Close makes what was taken durable and closes the file.
func (b *Book) Close() error {
	err := b.Flush()
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(err, b.file.close())
}
