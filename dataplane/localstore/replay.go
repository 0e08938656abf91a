package localstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

var (
	errFrame = errors.New("a frame is malformed")
	errOther = errors.New("the journal belongs to another snapshot")
)

// journal is what a journal file says.
type journal struct {
	header journalHeader
	writer *journalWriter // to go on with, after the last whole frame
	frames int
	torn   int64 // bytes after the last whole frame that a crash left behind
	stale  bool
	damage error // why replaying ended before the end of the file
}

// readJournal replays a journal that belongs where it is asked whether it does, giving each whole change to apply in order. An
// error means that not even its header is good.
func readJournal(data []byte, options Options, belongs func(journalHeader) error, apply func(Change)) (j journal, err error) {
	body, sum, size, err := readHeader(bytes.NewReader(data), journalMagic)
	if err != nil {
		return j, err
	}
	if j.header, err = decodeJournalHeader(body); err != nil {
		return j, err
	}
	if err := belongs(j.header); err != nil {
		return j, err
	}
	j.stale = j.header.mode != options.Mode
	j.writer = &journalWriter{options: options, file: j.header.file, sum: sum, size: int64(size)}
	for rest := data[size:]; len(rest) > 0; {
		body, whole, err := splitFrame(rest, j.writer.sequence)
		if err == nil && !whole {
			j.torn = int64(len(rest))
			break
		}
		var change Change
		if err == nil {
			change, err = j.decode(body)
		}
		if err != nil {
			j.damage = fmt.Errorf("frame %d: %w", j.writer.sequence, err)
			break
		}
		apply(change)
		rest = rest[frameHead+len(body):]
		j.frames++
		j.writer.sequence++
		j.writer.size += int64(frameHead + len(body))
	}
	return j, nil
}

// splitFrame returns the body of the first frame. A frame that is not there to its end is a torn
// append: its head vouches for the length, so that a damaged length does not pass for one. Zeros to the
// end of the file are one too: after a loss of power a file can be longer than what was written.
func splitFrame(rest []byte, sequence uint64) (body []byte, whole bool, err error) {
	if len(rest) < frameHead || len(bytes.TrimLeft(rest, "\x00")) == 0 {
		return nil, false, nil
	}
	if crc32.Checksum(rest[:frameHead-4], castagnoli()) != binary.BigEndian.Uint32(rest[frameHead-4:]) ||
		binary.BigEndian.Uint64(rest[4:]) != sequence {
		return nil, false, errFrame
	}
	length := binary.BigEndian.Uint32(rest)
	if length > maxFrame {
		return nil, false, errFrame
	}
	if int(length) > len(rest)-frameHead {
		return nil, false, nil
	}
	return rest[frameHead : frameHead+int(length)], true, nil
}

// decode opens a frame's body and takes over the keys that it introduces.
func (j *journal) decode(body []byte) (change Change, err error) {
	c := cursor{rest: body}
	control := c.take(c.uint32())
	rest := c.rest
	keys := slices.Clone(j.writer.keys)
	for range c.uint16() {
		section := c.section()
		wrapped := c.take(c.uint16())
		if c.bad || len(keys) == maxSections {
			return change, errFrame
		}
		b, stale, err := j.writer.options.openBox(j.header.mode, section, j.header.file, wrapped)
		if err != nil {
			return change, fmt.Errorf("opening a key: %w", err)
		}
		j.stale = j.stale || stale
		keys = append(keys, journalKey{section, b, wrapped})
	}
	if len(keys) == 0 || keys[0].Section != controlSection {
		return change, errFrame
	}
	control, err = keys[0].box.open(nil, control, j.writer.bound(controlBlock))
	if err != nil {
		return change, fmt.Errorf("control part: %w", err)
	}
	if change, err = decodeControl(control, rest); err != nil {
		return change, err
	}
	for block := range c.uint16() {
		block++ // 0 is the control part
		puts, err := j.decodeBlock(&c, keys, block)
		if err != nil {
			return change, fmt.Errorf("block %d: %w", block, err)
		}
		change.Puts = append(change.Puts, puts...)
	}
	if err := c.end(); err != nil {
		return change, errFrame
	}
	j.writer.keys = keys
	return change, nil
}

func (j *journal) decodeBlock(c *cursor, keys []journalKey, block int) (puts []Entry, err error) {
	at := c.uint16()
	sealed := c.take(c.uint32())
	if c.bad || at >= len(keys) {
		return nil, errFrame
	}
	packed, err := keys[at].box.open(nil, sealed, j.writer.bound(block))
	if err != nil {
		return nil, err
	}
	data, free, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	defer free()
	r := newEntryReader(data, keys[at].Section, smallRead)
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			return puts, nil
		}
		if err != nil {
			return nil, err
		}
		puts = append(puts, e)
	}
}

func unpack(packed []byte) (data io.Reader, free func(), err error) {
	switch {
	case len(packed) > 0 && packed[0] == packedNot:
		return bytes.NewReader(packed[1:]), func() {}, nil
	case len(packed) > 0 && packed[0] == packedZstd:
		decoder, err := newDecoder(bytes.NewReader(packed[1:]))
		if err != nil {
			return nil, nil, err
		}
		return decoder, decoder.Close, nil
	}
	return nil, nil, errFrame
}
