package localstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

const (
	maxName  = 1 << 10  // bytes of a kind or id
	maxBytes = 64 << 20 // bytes of an entry
	maxScope = 255
)

var errEntry = errors.New("an entry is malformed")

func (e Entry) section() localkeys.Section { return localkeys.Section{Class: e.Class, Scope: e.Scope} }

func (e Entry) ref() Ref { return Ref{e.Kind, e.ID} }

// check refuses what could be written but not read again.
func (e Entry) check() error {
	if len(e.Kind) > maxName || len(e.ID) > maxName || len(e.Bytes) > maxBytes || len(e.Scope) > maxScope || len(e.Class) > maxScope {
		return fault.Newf(fault.Invalid, "localstore.Write", e.Kind, "an entry is too large: at most %d bytes, and %d for its name", maxBytes, maxName)
	}
	return nil
}

func appendEntry(dst []byte, e Entry) []byte {
	dst = appendBytes(dst, e.Kind)
	dst = appendBytes(dst, e.ID)
	return appendBytes(dst, e.Bytes)
}

func appendBytes[T string | []byte](dst []byte, data T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(data))), data...)
}

// entryReader reads the entries of one section.
type entryReader struct {
	*bufio.Reader
	section localkeys.Section
	names   []byte
	kinds   map[string]string // each kind's name once in memory, not once for each entry
}

const (
	smallRead = 512 // buffer over bytes that are in memory already
	largeRead = 1 << 16
)

func newEntryReader(r io.Reader, section localkeys.Section, buffer int) *entryReader {
	return &entryReader{bufio.NewReaderSize(r, buffer), section, nil, map[string]string{}}
}

// next returns io.EOF after the last whole entry.
func (r *entryReader) next() (e Entry, err error) {
	if _, err := r.Peek(1); err != nil {
		return Entry{}, err
	}
	kind, err := r.name()
	if err != nil {
		return Entry{}, err
	}
	shared, ok := r.kinds[string(kind)]
	if !ok {
		shared = string(kind)
		r.kinds[shared] = shared
	}
	id, err := r.name()
	if err != nil {
		return Entry{}, err
	}
	e = Entry{Kind: shared, ID: string(id), Class: r.section.Class, Scope: r.section.Scope}
	size, err := r.size(maxBytes)
	if err != nil {
		return Entry{}, err
	}
	e.Bytes = make([]byte, size)
	if _, err := io.ReadFull(r, e.Bytes); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", errEntry, cut(err))
	}
	return e, nil
}

// cut keeps the end of the file inside an entry from passing for the end of the entries.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// name returns bytes that are good until the next call.
func (r *entryReader) name() ([]byte, error) {
	size, err := r.size(maxName)
	if err != nil {
		return nil, err
	}
	r.names = append(r.names[:0], make([]byte, size)...)
	if _, err := io.ReadFull(r, r.names); err != nil {
		return nil, fmt.Errorf("%w: %w", errEntry, cut(err))
	}
	return r.names, nil
}

func (r *entryReader) size(limit uint64) (int, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errEntry, cut(err))
	}
	if size > limit {
		return 0, errEntry
	}
	return int(size), nil
}
