package cachestore

import (
	"os"
	"path/filepath"
	"strings"
)

// load indexes the segments of the folder, oldest first. Those that cannot be opened, or all of them when nobody knows what was
// purged, are removed; cleared says whether they are. It returns the highest number of purges that a value was written after.
func (d *disk) load(purges map[string]done, known bool) (newest uint64, cleared bool) {
	cleared = true
	files, _ := os.ReadDir(d.dir) // one that cannot be read holds nothing
	var opened []*segment
	for _, file := range files {
		path := filepath.Join(d.dir, file.Name())
		switch {
		case strings.HasSuffix(file.Name(), temporarySuffix):
			_ = d.options.FS.Remove(path)
		case !strings.HasPrefix(file.Name(), segmentPrefix):
		default:
			var s *segment
			if known {
				s = d.openSegment(path)
			}
			if s == nil {
				cleared = d.options.FS.Remove(path) == nil && cleared || known
				continue
			}
			opened = append(opened, s)
		}
	}
	sortByAge(opened)
	by := map[uint32]*segment{}
	for _, s := range opened {
		d.next = s.number + 1
		by[s.number] = s
		d.bytes.Add(s.size)
	}
	d.order = opened
	d.segments.Store(&by)
	for _, s := range opened {
		newest = max(newest, s.born, d.scan(s, purges))
	}
	return newest, cleared
}

// scan indexes a segment as far as it can be read.
func (d *disk) scan(s *segment, purges map[string]done) (newest uint64) {
	w := window{of: s.file}
	for at := int64(s.begin); ; {
		head, err := s.headIn(&w, at)
		if err != nil {
			return newest
		}
		newest = max(newest, head.purges)
		end := at + int64(s.headSize()) + int64(head.length) + int64(s.overhead)
		if end > s.size {
			return newest
		}
		dead := false
		for _, one := range purges {
			dead = dead || head.purges < one.number && one.labels().covers(head.labels)
		}
		key := shortOf(&head.name)
		shard := d.shardOf(key)
		shard.mu.Lock()
		if _, there := shard.slots[key]; there { // an older form of it
			d.drop(shard, key)
		}
		if !dead && d.hasIndexRoom() {
			shard.slots[key] = slot{segment: s.number, offset: uint32(at), length: head.length, labels: head.labels, expires: head.expires}
			d.entries.Add(1)
		}
		shard.mu.Unlock()
		at = end
	}
}

func (d *disk) hasIndexRoom() bool { return int64(d.entries.Load()) < d.limit/entryEvery+1 }
