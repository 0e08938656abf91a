package localstore

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/keepgate/keepgate/shared/localkeys"
)

const (
	fileMode      = 0o600
	snapshotMagic = "KGSNAP1\n"
	journalMagic  = "KGJRNL1\n"
	magicSize     = 8
	maxHeader     = 1 << 20
	maxSections   = 1 << 12
)

var (
	errHeader = errors.New("the header is malformed")
	errSum    = errors.New("the header does not verify")
)

// fileID is random and names a file for good.
type fileID [16]byte

func newFileID() (id fileID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	return id
}

// headerSum stands for the whole header in the associated data of all that follows it.
type headerSum [sha256.Size]byte

// appendHeader frames a header's body.
func appendHeader(magic string, body []byte) (header []byte, sum headerSum) {
	header = append(header, magic...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(body)))
	header = append(header, body...)
	sum = sha256.Sum256(header)
	return append(header, sum[:]...), sum
}

// readHeader returns a header's body and its size in the file.
func readHeader(r io.Reader, magic string) (body []byte, sum headerSum, size int, err error) {
	head := make([]byte, magicSize+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, sum, 0, fmt.Errorf("reading the header: %w", err)
	}
	length := binary.BigEndian.Uint32(head[magicSize:])
	if string(head[:magicSize]) != magic || length > maxHeader {
		return nil, sum, 0, errHeader
	}
	rest := make([]byte, int(length)+len(sum))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, sum, 0, fmt.Errorf("reading the header: %w", err)
	}
	body = rest[:length]
	sum = sha256.Sum256(append(head, body...))
	if !bytes.Equal(sum[:], rest[length:]) {
		return nil, sum, 0, errSum
	}
	return body, sum, len(head) + len(rest), nil
}

type snapshotHeader struct {
	mode           Mode
	file           fileID
	generation     uint64
	epoch, version uint64
	hash           [32]byte
	sections       []sectionHeader
}

type sectionHeader struct {
	localkeys.Section
	entries uint64
	wrapped []byte
}

func (h snapshotHeader) encode() []byte {
	b := append([]byte{h.mode.code()}, h.file[:]...)
	b = binary.BigEndian.AppendUint64(b, h.generation)
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = binary.BigEndian.AppendUint64(b, h.version)
	b = append(b, h.hash[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.sections)))
	for _, s := range h.sections {
		b = appendSection(b, s.Section)
		b = binary.BigEndian.AppendUint64(b, s.entries)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s.wrapped))), s.wrapped...)
	}
	return b
}

func decodeSnapshotHeader(body []byte) (h snapshotHeader, err error) {
	c := cursor{rest: body}
	h.mode = c.mode()
	c.copy(h.file[:])
	h.generation, h.epoch, h.version = c.uint64(), c.uint64(), c.uint64()
	c.copy(h.hash[:])
	count := c.uint16()
	if count == 0 || count > maxSections {
		return h, errHeader
	}
	for range count {
		s := sectionHeader{Section: c.section()}
		s.entries = c.uint64()
		s.wrapped = c.take(c.uint16())
		h.sections = append(h.sections, s)
	}
	return h, c.end()
}

type journalHeader struct {
	mode           Mode
	file, snapshot fileID
	generation     uint64
}

func (h journalHeader) encode() []byte {
	b := append([]byte{h.mode.code()}, h.file[:]...)
	b = append(b, h.snapshot[:]...)
	return binary.BigEndian.AppendUint64(b, h.generation)
}

func decodeJournalHeader(body []byte) (h journalHeader, err error) {
	c := cursor{rest: body}
	h.mode = c.mode()
	c.copy(h.file[:])
	c.copy(h.snapshot[:])
	h.generation = c.uint64()
	return h, c.end()
}

func appendSection(dst []byte, s localkeys.Section) []byte {
	dst = append(append(dst, byte(len(s.Class))), s.Class...)
	return append(append(dst, byte(len(s.Scope))), s.Scope...)
}

// cursor reads a structure from bytes. After the first lack of bytes it yields zeros and end tells.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.rest) {
		c.bad, c.rest = true, nil
		return nil
	}
	taken := c.rest[:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) copy(dst []byte) { copy(dst, c.take(len(dst))) }

func (c *cursor) byte() int {
	var b [1]byte
	c.copy(b[:])
	return int(b[0])
}

func (c *cursor) uint16() int {
	var b [2]byte
	c.copy(b[:])
	return int(binary.BigEndian.Uint16(b[:]))
}

func (c *cursor) uint32() int {
	var b [4]byte
	c.copy(b[:])
	return int(binary.BigEndian.Uint32(b[:]))
}

func (c *cursor) uint64() uint64 {
	var b [8]byte
	c.copy(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func (c *cursor) mode() Mode {
	code := c.byte()
	if code >= len(modeCodes) {
		c.bad = true
		return Off
	}
	return modeCodes[code]
}

func (c *cursor) section() (s localkeys.Section) {
	s.Class = localkeys.Class(c.take(c.byte()))
	s.Scope = string(c.take(c.byte()))
	return s
}

func (c *cursor) end() error {
	if c.bad || len(c.rest) != 0 {
		return errHeader
	}
	return nil
}
