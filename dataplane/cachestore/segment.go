package cachestore

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	fileMode           = 0o600
	segmentPrefix      = "segment-"
	segmentMagic       = "KGCASG1\n"
	purgesMagic        = "KGCAPU1\n"
	cacheLabel         = "keepgate/cachestore/1"
	plainHead          = 32 + 12 + 8 + 8 + 4
	maxWrapped         = 1 << 10
	partHead      byte = 1
	partValue     byte = 2
	partPurges    byte = 3
)

var (
	errHeader = errors.New("the header is malformed")
	errStale  = errors.New("sealed by a former key")
)

// box seals and opens; *aead.Key and *aead.Box do.
type box interface {
	Seal(dst, plaintext, associated []byte) []byte
	Open(dst, sealed, associated []byte) ([]byte, error)
}

// sealedFile is what a segment and the purges have in common.
type sealedFile struct {
	id       [16]byte
	number   uint64 // of a segment
	wrapped  []byte
	box      box
	overhead int
	bound    []byte // what all that is sealed is bound to
	begin    int    // of what follows the header
}

func (f *sealedFile) name() string { return fmt.Sprintf("%x", f.id) }

// newSealedFile makes the header of a file.
func (d *disk) newSealedFile(magic string, number uint64) (f sealedFile, header []byte, err error) {
	rand.Read(f.id[:]) // never fails: crypto/rand ends the process instead
	outer, wrapped, err := d.keys.NewDataKey(d.suite(), d.section(), f.name())
	if err != nil {
		return f, nil, err
	}
	if len(wrapped) > maxWrapped {
		return f, nil, errHeader
	}
	f.wrapped, f.number = wrapped, number
	header = append([]byte(magic), byte(d.suite()))
	header = append(header, f.id[:]...)
	header = appendUint64(header, number)
	header = binary.BigEndian.AppendUint16(header, uint16(len(wrapped)))
	header = append(header, wrapped...)
	material := make([]byte, aead.KeySize)
	rand.Read(material)
	f.bind(d.options.Node, header)
	header = outer.Seal(header, material, f.bound)
	f.begin = len(header)
	return f, header, f.use(d.suite(), material)
}

// readSealedFile reads a header. A key that is not the newest counts as none: what it sealed is dropped.
func (d *disk) readSealedFile(r io.ReaderAt, magic string) (f sealedFile, err error) {
	fixed := make([]byte, len(magic)+1+len(f.id)+8+2)
	if _, err := r.ReadAt(fixed, 0); err != nil {
		return f, fmt.Errorf("reading the header: %w", err)
	}
	length := int(binary.BigEndian.Uint16(fixed[len(fixed)-2:]))
	if string(fixed[:len(magic)]) != magic || aead.Suite(fixed[len(magic)]) != d.suite() || length > maxWrapped {
		return f, errHeader
	}
	copy(f.id[:], fixed[len(magic)+1:])
	f.number = binary.BigEndian.Uint64(fixed[len(magic)+1+len(f.id):])
	rest := make([]byte, length+aead.KeySize+aead.Overhead)
	if _, err := r.ReadAt(rest, int64(len(fixed))); err != nil {
		return f, fmt.Errorf("reading the header: %w", err)
	}
	f.wrapped = rest[:length:length]
	outer, stale, err := d.keys.OpenDataKey(d.suite(), d.section(), f.name(), f.wrapped)
	if err != nil {
		return f, err
	}
	if stale {
		return f, errStale
	}
	f.bind(d.options.Node, append(fixed, f.wrapped...))
	material, err := outer.Open(nil, rest[length:], f.bound)
	if err != nil {
		return f, err
	}
	f.begin = len(fixed) + len(rest)
	return f, f.use(d.suite(), material)
}

func (f *sealedFile) bind(node string, header []byte) {
	sum := sha256.Sum256(header)
	f.bound = slices.Clip(aead.Associated(cacheLabel, node, string(sum[:])))
}

// use takes the file's own key, and wipes the material.
func (f *sealedFile) use(suite aead.Suite, material []byte) (err error) {
	key := secret.Take(material)
	defer key.Wipe()
	if suite == aead.AES256GCM {
		f.box, err = aead.NewBox(aead.BoxGCM, key)
	} else {
		f.box, err = aead.NewKey(suite, key)
	}
	if err == nil {
		f.overhead = len(f.box.Seal(nil, nil, nil))
	}
	return err
}

func (d *disk) section() localkeys.Section {
	return localkeys.Section{Class: localkeys.Cache, Scope: d.options.Environment}
}

// segment is a file of values. Its records do not change.
type segment struct {
	sealedFile
	path   string
	number uint32 // the file's, which counts them
	born   uint64 // purges that were done before anything in it was written
	size   int64
	file   *os.File    // to read
	gone   atomic.Bool // it was removed: what cannot be read is no damage
}

func (s *segment) headSize() int { return plainHead + s.overhead }

func (s *segment) bindHead(dst []byte, offset int64) []byte {
	return appendUint64(append(append(dst, s.bound...), partHead), uint64(offset))
}

func (s *segment) bindValue(dst []byte, offset uint32, name *Name) []byte {
	return append(appendUint64(append(append(dst, s.bound...), partValue), uint64(offset)), name[:]...)
}

// head is what stands before a value.
type head struct {
	name    Name
	labels  Labels
	expires int64
	purges  uint64
	length  uint32
}

func (h *head) encode() []byte {
	b := make([]byte, 0, plainHead)
	b = append(b, h.name[:]...)
	for _, n := range []uint32{h.labels.Workspace, h.labels.Plugin, h.labels.Key} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = appendUint64(b, uint64(h.expires))
	b = appendUint64(b, h.purges)
	return binary.BigEndian.AppendUint32(b, h.length)
}

func decodeHead(b []byte) (h head, err error) {
	if len(b) != plainHead {
		return h, errHeader
	}
	copy(h.name[:], b)
	h.labels = Labels{binary.BigEndian.Uint32(b[32:]), binary.BigEndian.Uint32(b[36:]), binary.BigEndian.Uint32(b[40:])}
	h.expires = int64(binary.BigEndian.Uint64(b[44:]))
	h.purges = binary.BigEndian.Uint64(b[52:])
	h.length = binary.BigEndian.Uint32(b[60:])
	return h, nil
}

// record is a value as it lies in the segment from an offset on.
func (s *segment) record(offset int64, h head, value []byte) []byte {
	b := make([]byte, 0, s.recordSize(len(value)))
	b = s.box.Seal(b, h.encode(), s.bindHead(nil, offset))
	return s.box.Seal(b, value, s.bindValue(nil, uint32(offset), &h.name))
}

func (s *segment) recordSize(value int) int64 { return int64(s.headSize() + value + s.overhead) }

func (s *segment) readHead(at int64) (head, error) {
	w := window{of: s.file}
	return s.headIn(&w, at)
}

// headIn reads a head through a window.
func (s *segment) headIn(w *window, at int64) (head, error) {
	sealed, err := w.at(at, s.headSize())
	if err != nil {
		return head{}, err
	}
	w.bound = s.bindHead(w.bound[:0], at)
	if w.plain, err = s.box.Open(w.plain[:0], sealed, w.bound); err != nil {
		return head{}, err
	}
	return decodeHead(w.plain)
}

// window reads a file ahead where what is asked for lies close together.
type window struct {
	of           io.ReaderAt
	bytes        []byte
	start, last  int64 // of bytes, and where something was asked for last
	plain, bound []byte
}

const windowSize = 64 << 10

func (w *window) at(offset int64, n int) ([]byte, error) {
	if from := offset - w.start; from >= 0 && from+int64(n) <= int64(len(w.bytes)) {
		w.last = offset
		return w.bytes[from : from+int64(n)], nil
	}
	want := n
	if w.last > 0 && offset-w.last < windowSize/4 {
		want = windowSize
	}
	if cap(w.bytes) < want {
		w.bytes = make([]byte, want)
	}
	got, err := w.of.ReadAt(w.bytes[:want], offset)
	w.bytes, w.start, w.last = w.bytes[:got], offset, offset
	if got < n {
		return nil, err
	}
	return w.bytes[:n], nil
}

// openSegment returns nil when the file is no segment that this node's key opens.
func (d *disk) openSegment(path string) *segment {
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	s := &segment{path: path, file: file}
	info, err := file.Stat()
	if err == nil {
		s.size = info.Size()
		s.sealedFile, err = d.readSealedFile(file, segmentMagic)
	}
	s.number = uint32(s.sealedFile.number)
	if err != nil || s.size >= maxSegment || s.sealedFile.number >= math.MaxUint32 || filepath.Base(path) != segmentName(s.number) {
		_ = file.Close()
		return nil
	}
	if first, err := s.readHead(int64(s.begin)); err == nil {
		s.born = first.purges
	}
	return s
}

func sortByAge(list []*segment) {
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
}
