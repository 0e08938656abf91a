package localstore

import (
	"cmp"
	"os"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Find reads the section of one entry, and the bytes that it is kept as, without taking the store: a data plane may be
// using it. It fails with fault.NotFound when there is no such entry, and with fault.Unavailable when nothing can be opened
// with the keys of options.
func Find(dir string, options Options, ref Ref) (section localkeys.Section, data []byte, err error) {
	if options, err = options.checked(); err != nil {
		return section, nil, err
	}
	s := &Store{dir: dir, options: options}
	if options.Holder != nil {
		found, err := s.readKeys(keysName)
		if err != nil {
			found = nil // they may not be needed
		}
		again, _ := s.readAside()
		found = append(found, again...)
		if s.options.Keys, _, err = options.Holder.Ring(found); err != nil {
			return section, nil, err
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return section, nil, fault.New(fault.Unavailable, "localstore.Find", dir, err)
	}
	var numbers []uint64
	for _, file := range files {
		if number, ok := numberOf(file.Name(), snapshotPrefix); ok {
			numbers = append(numbers, number)
		}
	}
	slices.SortFunc(numbers, func(a, b uint64) int { return cmp.Compare(b, a) })
	why := "the store is empty"
	for _, number := range numbers {
		l, damage, err := s.load(number)
		if l == nil {
			if err == nil && len(damage) > 0 {
				why = damage[len(damage)-1].Reason
			}
			continue
		}
		if e, there := l.snapshot.entries[ref]; there {
			return e.section(), e.Bytes, nil
		}
		return section, nil, fault.Newf(fault.NotFound, "localstore.Find", ref.Kind+"/"+ref.ID, "this node does not hold it")
	}
	return section, nil, fault.Newf(fault.Unavailable, "localstore.Find", dir, "nothing can be opened: %s", why)
}
