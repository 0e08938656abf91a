package cachestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
)

const (
	temporarySuffix = durable.TemporarySuffix

	queueEntries = 1024
	queueBytes   = 32 << 20 // that wait to be written

	minSegment  = 1 << 20
	midSegment  = 64 << 20
	maxSegment  = 1 << 31 // offsets have to fit
	segmentPart = 32      // a segment is this part of the disk
	maxSegments = 256     // files that are held open
	carryPart   = 4       // of a segment may be written again when it goes
)

var (
	errNotWritten = errors.New("the folder cannot be written")
	errNoRoom     = errors.New("files that cannot be removed leave no room")
)

// writing is the segment that values are appended to.
type writing struct {
	*segment
	to durable.File
}

// keep hands a value to whoever writes.
func (d *disk) keep(e *Entry) {
	w := int64(len(e.Value))
	if w > d.limit/2 || w >= midSegment {
		return
	}
	if d.pending.Add(w) > queueBytes {
		d.pending.Add(-w)
		d.lost.Add(1)
		return
	}
	select {
	case d.queue <- *e:
	default:
		d.pending.Add(-w)
		d.lost.Add(1)
	}
}

// take writes a value that was in the queue.
func (d *disk) take(e *Entry) {
	defer d.pending.Add(-int64(len(e.Value)))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || e.Began != d.count.Load() {
		return
	}
	if d.rest.resting(time.Now()) {
		d.lost.Add(1)
		return
	}
	if d.write(e.Name, e.Labels, e.Expires, e.Value) {
		d.kept.Add(1)
	}
}

// drain writes what is in the queue now.
func (d *disk) drain() {
	for {
		select {
		case e := <-d.queue:
			d.take(&e)
		default:
			return
		}
	}
}

// write appends a value and puts it into the index. The lock is held.
func (d *disk) write(name Name, labels Labels, expires int64, value []byte) bool {
	s, err := d.writable(int64(len(value)))
	if err != nil {
		d.fail(err)
		return false
	}
	offset := s.size
	h := head{name, labels, expires, d.count.Load(), uint32(len(value))}
	record := s.record(offset, h, value)
	n, err := s.to.Write(record)
	s.size += int64(n)
	d.bytes.Add(int64(n))
	if err == nil && n < len(record) {
		err = io.ErrShortWrite
	}
	if err != nil {
		d.close() // what follows a torn record is not found
		d.fail(err)
		return false
	}
	d.refusing = false
	d.tell("", nil)
	key := shortOf(&name)
	shard := d.shardOf(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, there := shard.slots[key]; !there {
		if !d.hasIndexRoom() {
			d.lost.Add(1)
			return false
		}
		d.entries.Add(1)
	}
	shard.slots[key] = slot{segment: s.number, offset: uint32(offset), length: h.length, labels: labels, expires: expires}
	return true
}

// fail leaves the disk alone for a while. The lock is held.
func (d *disk) fail(err error) {
	d.lost.Add(1)
	d.rest.failed(time.Now())
	d.tries.note(time.Now(), d.rest.until)
	d.refusing = true
	d.tell("proxy-cache: the disk takes no responses; requests are served without, and it is tried again later", err)
}

// tell logs that the disk fails, or does not any more, once each. The lock is held.
func (d *disk) tell(why string, err error) {
	fails := d.refusing || d.unsaved
	if d.failing.Swap(fails) == fails {
		return
	}
	if fails {
		d.options.Log.Error(why, "folder", d.dir, "error", err)
		return
	}
	d.options.Log.Info("proxy-cache: the disk is used again", "folder", d.dir)
}

func (d *disk) segmentSize() int64 {
	most := min(max(midSegment, 2*d.limit/maxSegments), maxSegment/2) // as many as may be open hold all that may be kept
	return min(max(d.limit/segmentPart, min(minSegment, d.limit/carryPart)), most)
}

// writable returns a segment with room for a value, and makes room on the disk. The lock is held.
func (d *disk) writable(value int64) (*writing, error) {
	if d.current != nil && d.current.size >= d.segmentSize() {
		d.close()
	}
	const more = 4 << 10 // than a header and a record's head take
	switch d.shrink(value + more); {
	case d.bytes.Load()+value+more > d.limit:
		return nil, errNoRoom
	case d.current != nil:
		return d.current, nil
	}
	f, header, err := d.newSealedFile(segmentMagic, uint64(d.next))
	if err != nil {
		return nil, err
	}
	s := &segment{sealedFile: f, path: filepath.Join(d.dir, segmentName(d.next)), number: d.next, born: d.count.Load(), size: int64(len(header))}
	d.next++
	to, err := d.options.FS.Create(s.path, fileMode)
	if err != nil {
		return nil, err
	}
	if _, err = to.Write(header); err == nil {
		s.file, err = os.Open(s.path)
	}
	if err != nil {
		return nil, errors.Join(err, to.Close(), d.options.FS.Remove(s.path))
	}
	d.bytes.Add(s.size)
	d.order = append(d.order, s)
	d.publish(func(all map[uint32]*segment) { all[s.number] = s })
	d.current = &writing{s, to}
	return d.current, nil
}

// close ends the segment that is written. The lock is held.
func (d *disk) close() {
	if d.current != nil {
		_ = d.current.to.Close() // what was not written does not open
		d.current = nil
	}
}

// shrink removes the oldest segments until more bytes, and one more value, have room, and writes again what of them was used. The lock is
// held.
func (d *disk) shrink(more int64) {
	d.removeStaying()
	for len(d.order) > 0 && (d.bytes.Load()+more > d.limit || len(d.order) > maxSegments || !d.hasIndexRoom()) {
		oldest := d.order[0]
		carried := d.leave(oldest)
		d.dropSegment(oldest)
		for _, one := range carried {
			if d.bytes.Load()+more+int64(len(one.value))+4<<10 > d.limit || !d.hasIndexRoom() || !d.write(one.name, one.labels, one.expires, one.value) {
				d.evicted.Add(1)
			}
		}
	}
}

// carry is a value that is written again.
type carry struct {
	name    Name
	labels  Labels
	expires int64
	value   []byte
}

// leave takes a segment's values out of the index and returns those that are to be written again. The lock is held.
func (d *disk) leave(s *segment) (carried []carry) {
	var used []slot
	left, now := min(s.size, midSegment)/carryPart, time.Now().Unix()
	for i := range d.index {
		shard := &d.index[i]
		shard.mu.Lock()
		for key, one := range shard.slots {
			if one.segment != s.number {
				continue
			}
			d.drop(shard, key)
			if !one.used || one.expires <= now || int64(one.length) > left {
				d.evicted.Add(1)
				continue
			}
			left -= int64(one.length)
			used = append(used, one)
		}
		shard.mu.Unlock()
	}
	for _, one := range used {
		head, err := s.readHead(int64(one.offset))
		if err != nil {
			continue
		}
		if value := d.read(&head.name, one, nil); value != nil {
			carried = append(carried, carry{head.name, head.labels, head.expires, value})
		}
	}
	return carried
}

// dropSegment removes a segment that the index says nothing of any more. The lock is held.
func (d *disk) dropSegment(s *segment) {
	if d.current != nil && d.current.segment == s {
		d.close()
	}
	s.gone.Store(true)
	d.publish(func(all map[uint32]*segment) { delete(all, s.number) })
	d.order = slices.DeleteFunc(d.order, func(one *segment) bool { return one == s })
	if err := d.remove(s); err != nil {
		d.options.Log.Warn("proxy-cache: a file on the disk stays; it is not read any more, and takes room until it can be removed", "file", s.path, "error", err)
		d.staying = append(d.staying, s)
	}
	_ = s.file.Close() // it was only read
}

func (d *disk) remove(s *segment) error {
	if err := d.options.FS.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.bytes.Add(-s.size)
	return nil
}

// removeStaying tries again to remove what could not be removed. The lock is held.
func (d *disk) removeStaying() {
	if len(d.staying) > 0 {
		d.staying = slices.DeleteFunc(d.staying, func(s *segment) bool { return d.remove(s) == nil })
	}
}

// dropAll removes all segments. The lock is held.
func (d *disk) dropAll() {
	d.close()
	d.dropWhere(func(slot) bool { return true })
	for _, s := range slices.Clone(d.order) {
		d.dropSegment(s)
	}
}

// olderThan says whether a value on the disk may be older than a purge. What could not be removed is read again by the next process.
// The lock is held.
func (d *disk) olderThan(number uint64) bool {
	older := func(s *segment) bool { return s.born < number }
	return slices.ContainsFunc(d.order, older) || slices.ContainsFunc(d.staying, older)
}

func segmentName(number uint32) string { return fmt.Sprintf("%s%016x", segmentPrefix, number) }
