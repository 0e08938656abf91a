package localstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

const (
	journalLabel = "keepgate/localstore/journal/1"
	frameHead    = 16
	maxFrame     = 1 << 30
	controlBlock = 0 // a block's number in the associated data

	packFrom   = 8 << 10
	packedNot  = 0 // first byte of a block: entries follow
	packedZstd = 1 // first byte of a block: one zstd frame of entries follows
)

// journalWriter makes the frames of one journal.
type journalWriter struct {
	options  Options
	file     fileID
	sum      headerSum
	sequence uint64
	size     int64
	keys     []journalKey
}

// journalKey seals the blocks of one section; its place in the list is its number.
type journalKey struct {
	localkeys.Section
	box     box
	wrapped []byte
}

// controlSection seals each frame's control part, which binds the rest.
var controlSection = localkeys.Section{Class: localkeys.Contract}

// newJournal returns the writer and the header of a new, empty journal.
func newJournal(options Options, number uint64, snapshot fileID) (*journalWriter, []byte) {
	h := journalHeader{mode: options.Mode, file: newFileID(), snapshot: snapshot, generation: number}
	header, sum := appendHeader(journalMagic, h.encode())
	return &journalWriter{options: options, file: h.file, sum: sum, size: int64(len(header))}, header
}

// frame encodes a change. The writer's state moves on when commit is called, once the frame is down.
func (j *journalWriter) frame(change Change) (frame []byte, commit func(), err error) {
	keys := slices.Clone(j.keys)
	number := func(section localkeys.Section) (int, error) {
		at := slices.IndexFunc(keys, func(k journalKey) bool { return k.Section == section })
		if at >= 0 {
			return at, nil
		}
		b, wrapped, err := j.options.newBox(section, j.file)
		keys = append(keys, journalKey{section, b, wrapped})
		return len(keys) - 1, err
	}
	if _, err := number(controlSection); err != nil {
		return nil, nil, err
	}
	plain := map[int][]byte{}
	for _, e := range change.Puts {
		if err := e.check(); err != nil {
			return nil, nil, err
		}
		at, err := number(e.section())
		if err != nil {
			return nil, nil, err
		}
		plain[at] = appendEntry(plain[at], e)
	}
	if len(keys) > maxSections {
		return nil, nil, fault.Newf(fault.Invalid, "localstore.Append", "", "more than %d sections", maxSections)
	}
	rest, err := j.blocks(keys, plain)
	if err != nil {
		return nil, nil, err
	}
	control := keys[0].box.seal(nil, encodeControl(change, rest), j.bound(controlBlock))
	frame = j.assemble(control, rest)
	if len(frame) > maxFrame {
		return nil, nil, fault.Newf(fault.Invalid, "localstore.Append", "", "the change is too large for the journal: replace the whole")
	}
	return frame, func() { j.keys, j.sequence, j.size = keys, j.sequence+1, j.size+int64(len(frame)) }, nil
}

// blocks encodes the keys that are new in this frame and a sealed block for each section.
func (j *journalWriter) blocks(keys []journalKey, plain map[int][]byte) ([]byte, error) {
	fresh := keys[len(j.keys):]
	b := binary.BigEndian.AppendUint16(nil, uint16(len(fresh)))
	for _, k := range fresh {
		b = appendSection(b, k.Section)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(k.wrapped))), k.wrapped...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(plain)))
	block := 0
	for at, k := range keys {
		data, ok := plain[at]
		if !ok {
			continue
		}
		block++
		packed, err := pack(data)
		if err != nil {
			return nil, err
		}
		b = binary.BigEndian.AppendUint16(b, uint16(at))
		b = binary.BigEndian.AppendUint32(b, uint32(len(packed)+k.box.overhead()))
		b = k.box.seal(b, packed, j.bound(block))
	}
	return b, nil
}

// pack compresses what is worth it: most changes are one entity, and an encoder costs more than they do.
func pack(data []byte) ([]byte, error) {
	if len(data) < packFrom {
		return append([]byte{packedNot}, data...), nil
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	return encoder.EncodeAll(data, []byte{packedZstd}), encoder.Close()
}

func (j *journalWriter) bound(block int) []byte {
	return boundBlock(j.options.Node, j.file, j.sum, j.sequence, block)
}

func (j *journalWriter) assemble(control, rest []byte) []byte {
	frame := make([]byte, 0, frameHead+4+len(control)+len(rest))
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(control)+len(rest)))
	frame = binary.BigEndian.AppendUint64(frame, j.sequence)
	frame = binary.BigEndian.AppendUint32(frame, crc32.Checksum(frame, castagnoli()))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(control)))
	return append(append(frame, control...), rest...)
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func boundBlock(node string, file fileID, sum headerSum, sequence uint64, block int) []byte {
	b := aead.Associated(journalLabel, node, string(file[:]), string(sum[:]))
	b = binary.BigEndian.AppendUint64(b, sequence)
	return binary.BigEndian.AppendUint32(b, uint32(block))
}

// encodeControl writes epoch, version, hash, the digest of the rest of the frame, and the deletions.
func encodeControl(change Change, rest []byte) []byte {
	digest := sha256.Sum256(rest)
	b := binary.BigEndian.AppendUint64(nil, change.Epoch)
	b = binary.BigEndian.AppendUint64(b, change.Version)
	b = append(append(b, change.Hash[:]...), digest[:]...)
	for _, ref := range change.Deletes {
		b = appendBytes(appendBytes(b, ref.Kind), ref.ID)
	}
	return b
}

// decodeControl is the inverse of encodeControl; rest must be what was bound.
func decodeControl(control, rest []byte) (change Change, err error) {
	c := cursor{rest: control}
	change.Epoch, change.Version = c.uint64(), c.uint64()
	c.copy(change.Hash[:])
	digest := sha256.Sum256(rest)
	if !bytes.Equal(digest[:], c.take(len(digest))) {
		return change, errors.New("the blocks are not those of the frame")
	}
	r := newEntryReader(bytes.NewReader(c.rest), controlSection, smallRead)
	for {
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return change, nil
		}
		kind, err := r.name()
		ref := Ref{Kind: string(kind)}
		if err != nil {
			return change, fmt.Errorf("reading a deletion: %w", err)
		}
		id, err := r.name()
		if err != nil {
			return change, fmt.Errorf("reading a deletion: %w", err)
		}
		ref.ID = string(id)
		change.Deletes = append(change.Deletes, ref)
	}
}
