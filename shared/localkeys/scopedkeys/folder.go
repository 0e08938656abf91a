package scopedkeys

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/secretfile"
)

// maxBytes is far more than a file of keys takes.
const maxBytes = 1 << 20

// readFolder reads a file a key, as Kubernetes mounts a Secret: what begins with two dots is its own.
func readFolder(p *Problems, dir string) (list []given, notices []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.add(place{file: dir}, "%v", reason(err))
		return nil, nil
	}
	var names []string
	for _, k := range Keys() {
		names = append(names, k.FileName())
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), "..") }) {
		p.add(place{file: dir}, "no key lies there; expected any of %s", strings.Join(names, ", ")) // as of an empty file: what was mounted is not there
	}
	for _, entry := range entries {
		name, path := entry.Name(), filepath.Join(dir, entry.Name())
		if strings.HasPrefix(name, "..") {
			continue
		}
		i := slices.Index(names, name)
		if i < 0 {
			p.add(place{file: path}, "no key has this name; expected %s", strings.Join(names, ", "))
			continue
		}
		data, notice, err := secretfile.Read(path, maxText)
		if err != nil {
			p.add(place{file: path}, "%v", reason(err))
			continue
		}
		if notice != "" {
			notices = append(notices, notice)
		}
		value, err := ParseValue(strings.TrimSpace(string(data)))
		clear(data)
		if err != nil {
			p.add(place{file: path}, "%v", err)
			continue
		}
		list = append(list, given{Keys()[i], value, byFolder, place{file: path}})
	}
	return list, notices
}
