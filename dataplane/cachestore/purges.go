package cachestore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
)

const (
	purgesName = "purges"
	maxPurges  = 16 << 20 // bytes of the file
)

var errPurges = errors.New("the list of purges is malformed")

// savePurges makes durable what was done. When that fails the purges hold in this process, and are done again in the next: then
// values that were kept since go too. The lock is held.
func (d *disk) savePurges(number uint64, purges map[string]done) {
	if d.over {
		return
	}
	err := d.replacePurges(number, purges)
	if d.unsaved = err != nil; d.unsaved && !d.refusing {
		d.tries.note(time.Now(), time.Now().Add(sweepEvery))
	}
	d.tell("proxy-cache: purges were done but not noted; until they are, they are done again at a start", err)
}

func (d *disk) replacePurges(number uint64, purges map[string]done) error {
	f, header, err := d.newSealedFile(purgesMagic, 0)
	if err != nil {
		return err
	}
	sealed := f.box.Seal(header, encodePurges(number, purges), append(slices.Clone(f.bound), partPurges))
	return durable.ReplaceOn(d.options.FS, filepath.Join(d.dir, purgesName), fileMode, func(w io.Writer) error {
		_, err := w.Write(sealed)
		return err
	})
}

// readPurges returns what was done; found is false when nobody knows.
func (d *disk) readPurges() (purges map[string]done, number uint64, found bool) {
	nothing := map[string]done{}
	file, err := os.Open(filepath.Join(d.dir, purgesName))
	if err != nil {
		return nothing, 0, false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() > maxPurges {
		return nothing, 0, false
	}
	f, err := d.readSealedFile(file, purgesMagic)
	if err != nil {
		return nothing, 0, false
	}
	sealed := make([]byte, max(0, info.Size()-int64(f.begin)))
	if _, err := file.ReadAt(sealed, int64(f.begin)); err != nil {
		return nothing, 0, false
	}
	plain, err := f.box.Open(nil, sealed, append(slices.Clone(f.bound), partPurges))
	if err != nil {
		return nothing, 0, false
	}
	if purges, number, err = decodePurges(plain); err != nil {
		return nothing, 0, false
	}
	return purges, number, true
}

func encodePurges(number uint64, purges map[string]done) []byte {
	list := make([]done, 0, len(purges))
	for _, one := range purges {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b done) int { return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.ID, b.ID)) })
	b := appendUint64(nil, number)
	for _, one := range list {
		b = appendUint64(b, one.number)
		for _, text := range []string{one.ID, one.Workspace, one.Plugin, one.Key} {
			text = text[:min(len(text), 1<<16-1)] // ids and hashes: never that long
			b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
			b = append(b, text...)
		}
	}
	return b
}

func decodePurges(b []byte) (purges map[string]done, number uint64, err error) {
	purges = map[string]done{}
	if len(b) < 8 {
		return nil, 0, errPurges
	}
	number, b = binary.BigEndian.Uint64(b), b[8:]
	for len(b) > 0 {
		var one done
		if len(b) < 8 {
			return nil, 0, errPurges
		}
		one.number, b = binary.BigEndian.Uint64(b), b[8:]
		for _, to := range []*string{&one.ID, &one.Workspace, &one.Plugin, &one.Key} {
			if len(b) < 2 {
				return nil, 0, errPurges
			}
			n := int(binary.BigEndian.Uint16(b))
			if b = b[2:]; len(b) < n {
				return nil, 0, errPurges
			}
			*to, b = string(b[:n]), b[n:]
		}
		purges[one.ID] = one
	}
	return purges, number, nil
}
