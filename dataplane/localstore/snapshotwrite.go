package localstore

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

const (
	window        = 1 << 20   // of compression: far more than entities that resemble each other lie apart
	chunkSize     = 256 << 10 // of compressed bytes; the last chunk of a section is shorter
	lastChunk     = 1 << 31   // in a chunk's length: the section ends here
	snapshotLabel = "keepgate/localstore/snapshot/1"
)

// writeSnapshot writes a snapshot file whole or not at all and returns its size.
func writeSnapshot(path string, options Options, number uint64, file fileID, state State) (size int64, err error) {
	header := snapshotHeader{
		mode: options.Mode, file: file, generation: number,
		epoch: state.Epoch, version: state.Version, hash: state.Hash,
	}
	boxes, err := header.plan(options, state)
	if err != nil {
		return 0, err
	}
	err = durable.ReplaceOn(options.FS, path, fileMode, func(w io.Writer) error {
		counted := &counter{Writer: w}
		framed, sum := appendHeader(snapshotMagic, header.encode())
		if _, err := counted.Write(framed); err != nil {
			return err
		}
		bound := header.bound(options.Node, sum)
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
		for i, s := range header.sections {
			chunks := &chunkWriter{to: counted, box: boxes[i], bound: bound, section: i}
			encoder.Reset(chunks)
			if err := writeSection(encoder, chunks, s, state); err != nil {
				return err
			}
		}
		size = counted.size
		return nil
	})
	return size, err
}

// plan lists the sections of state, each with a new data key. There is always one, so that the header of
// an empty state is authenticated too.
func (h *snapshotHeader) plan(options Options, state State) (boxes []box, err error) {
	counts := map[localkeys.Section]uint64{{Class: localkeys.Contract}: 0}
	if state.Entries != nil {
		for e := range state.Entries {
			if err := e.check(); err != nil {
				return nil, err
			}
			counts[e.section()]++
		}
	}
	if len(counts) > maxSections {
		return nil, fault.Newf(fault.Invalid, "localstore.Replace", "", "%d sections, at most %d", len(counts), maxSections)
	}
	for section, entries := range counts {
		b, wrapped, err := options.newBox(section, h.file)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, b)
		h.sections = append(h.sections, sectionHeader{section, entries, wrapped})
	}
	order := make([]int, len(boxes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := h.sections[a], h.sections[b]
		return cmp.Or(cmp.Compare(x.Class, y.Class), cmp.Compare(x.Scope, y.Scope))
	})
	h.sections, boxes = pick(h.sections, order), pick(boxes, order)
	return boxes, nil
}

func pick[T any](from []T, order []int) []T {
	picked := make([]T, 0, len(order))
	for _, i := range order {
		picked = append(picked, from[i])
	}
	return picked
}

// writeSection writes the entries of one section, compressed before they are sealed. Nobody who
// sees the sizes of files on this disk can also place chosen text beside a secret and have the node
// write them again and again, which is what compression would need to leak.
func writeSection(compressed *zstd.Encoder, to *chunkWriter, section sectionHeader, state State) error {
	var buffer []byte
	var entries uint64
	if state.Entries != nil {
		for e := range state.Entries {
			if e.section() != section.Section {
				continue
			}
			entries++
			buffer = appendEntry(buffer[:0], e)
			if _, err := compressed.Write(buffer); err != nil {
				return err
			}
		}
	}
	if entries != section.entries {
		return fault.Newf(fault.Invalid, "localstore.Replace", string(section.Class),
			"the state gave %d entries, then %d: it must give the same each time", section.entries, entries)
	}
	if err := compressed.Close(); err != nil {
		return err
	}
	return to.close()
}

// chunkWriter seals what it is given in chunks.
type chunkWriter struct {
	to      io.Writer
	box     box
	bound   []byte
	section int
	number  uint64
	pending []byte
	sealed  []byte
}

func (c *chunkWriter) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		if len(c.pending) == chunkSize { // only now is it known not to be the last
			if err := c.flush(false); err != nil {
				return 0, err
			}
		}
		n := min(chunkSize-len(c.pending), len(rest))
		c.pending = append(c.pending, rest[:n]...)
		rest = rest[n:]
	}
	return len(data), nil
}

func (c *chunkWriter) close() error { return c.flush(true) }

func (c *chunkWriter) flush(last bool) error {
	length := uint32(len(c.pending) + c.box.overhead())
	if last {
		length |= lastChunk
	}
	c.sealed = binary.BigEndian.AppendUint32(c.sealed[:0], length)
	c.sealed = c.box.seal(c.sealed, c.pending, boundChunk(c.bound, c.section, c.number, last))
	if _, err := c.to.Write(c.sealed); err != nil {
		return fmt.Errorf("chunk %d of section %d: %w", c.number, c.section, err)
	}
	c.number++
	c.pending = c.pending[:0]
	return nil
}

// bound is what all chunks of a file are bound to; boundChunk adds where in the file a chunk is.
func (h snapshotHeader) bound(node string, sum headerSum) []byte {
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:], h.epoch)
	binary.BigEndian.PutUint64(numbers[8:], h.version)
	return aead.Associated(snapshotLabel, node, string(numbers[:]), string(h.file[:]), string(sum[:]))
}

func boundChunk(bound []byte, section int, number uint64, last bool) []byte {
	b := binary.BigEndian.AppendUint16(slices.Clip(bound), uint16(section))
	b = binary.BigEndian.AppendUint64(b, number)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

type counter struct {
	io.Writer
	size int64
}

func (c *counter) Write(data []byte) (int, error) {
	n, err := c.Writer.Write(data)
	c.size += int64(n)
	return n, err
}
