package localstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

var (
	errChunk    = errors.New("a chunk is malformed")
	errCount    = errors.New("a section has another number of entries than its header says")
	errTrailing = errors.New("bytes follow the last section")
)

// newDecoder decompresses within the memory that the window of our own frames needs.
func newDecoder(from io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
}

// snapshot is what a snapshot file says.
type snapshot struct {
	snapshotHeader
	size    int64
	entries map[Ref]Entry
	stale   bool // sealed in another mode or under a previous key
}

// readSnapshot reads and verifies a whole snapshot.
func readSnapshot(r io.Reader, options Options) (s snapshot, err error) {
	counted := &countingReader{Reader: r}
	buffered := bufio.NewReaderSize(counted, 1<<16)
	body, sum, _, err := readHeader(buffered, snapshotMagic)
	if err != nil {
		return s, err
	}
	if s.snapshotHeader, err = decodeSnapshotHeader(body); err != nil {
		return s, err
	}
	s.stale = s.mode != options.Mode
	var total uint64
	for _, section := range s.sections {
		total += min(section.entries, 1<<20)
	}
	s.entries = make(map[Ref]Entry, min(total, 1<<20))
	bound := s.bound(options.Node, sum)
	decoder, err := newDecoder(nil)
	if err != nil {
		return s, err
	}
	defer decoder.Close()
	for i, section := range s.sections {
		b, stale, err := options.openBox(s.mode, section.Section, s.file, section.wrapped)
		if err != nil {
			return s, fmt.Errorf("opening section %d: %w", i, err)
		}
		s.stale = s.stale || stale
		chunks := &chunkReader{from: buffered, box: b, bound: bound, section: i}
		if err := s.readSection(decoder, chunks, section); err != nil {
			return s, fmt.Errorf("reading section %d: %w", i, err)
		}
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		return s, errors.Join(errTrailing, err)
	}
	s.size = counted.size
	return s, nil
}

// readSection reads on until the section's own last chunk, whatever the compressed stream says.
func (s *snapshot) readSection(decoder *zstd.Decoder, chunks *chunkReader, section sectionHeader) error {
	if err := decoder.Reset(chunks); err != nil {
		return err
	}
	reader := newEntryReader(decoder, section.Section, largeRead)
	var count uint64
	for {
		e, err := reader.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		count++
		s.entries[e.ref()] = e
	}
	if count != section.entries {
		return errCount
	}
	if !chunks.ended || len(chunks.opened) > 0 {
		return errChunk
	}
	return nil
}

// chunkReader opens the chunks of one section.
type chunkReader struct {
	from           io.Reader
	box            box
	bound          []byte
	section        int
	number         uint64
	sealed, buffer []byte
	opened         []byte // not yet read
	ended          bool
}

func (c *chunkReader) Read(p []byte) (int, error) {
	for len(c.opened) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.opened)
	c.opened = c.opened[n:]
	return n, nil
}

func (c *chunkReader) next() error {
	var head [4]byte
	if _, err := io.ReadFull(c.from, head[:]); err != nil {
		return fmt.Errorf("%w: %w", errChunk, cut(err))
	}
	length := binary.BigEndian.Uint32(head[:])
	last := length&lastChunk != 0
	if length &= math.MaxInt32; int(length) > chunkSize+c.box.overhead() {
		return errChunk
	}
	if c.sealed == nil {
		c.sealed = make([]byte, chunkSize+c.box.overhead())
	}
	sealed := c.sealed[:length]
	if _, err := io.ReadFull(c.from, sealed); err != nil {
		return fmt.Errorf("%w: %w", errChunk, cut(err))
	}
	opened, err := c.box.open(c.buffer[:0], sealed, boundChunk(c.bound, c.section, c.number, last))
	if err != nil {
		return fmt.Errorf("chunk %d: %w", c.number, err)
	}
	c.buffer, c.opened, c.ended = opened, opened, last
	c.number++
	return nil
}

type countingReader struct {
	io.Reader
	size int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.size += int64(n)
	return n, err
}
