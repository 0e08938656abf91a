package secrets

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/shared/secretbackend"
)

// rememberedOf bounds how many former files are known of one path.
const rememberedOf = 16

// ownFiles are files that this node's settings have secrets from. They are known by their paths and, since a file may have several names,
// by what lies there and has lain there: a file that is being replaced is nobody else's at any moment.
type ownFiles struct {
	paths   []string
	folders []string

	mu   sync.Mutex
	seen map[string][]fs.FileInfo // by path, the newest first
}

// holds says whether a path leads to one of them, as far as that shows from the path.
func (f *ownFiles) holds(path string) bool {
	if slices.Contains(f.paths, absolute(path)) {
		return true
	}
	is := target(path)
	return slices.ContainsFunc(f.folders, func(own string) bool { return isBelow(is, target(own)) })
}

// target is where a path leads, as far as it leads anywhere.
func target(path string) string {
	if is, err := filepath.EvalSymlinks(absolute(path)); err == nil {
		return is
	}
	return absolute(path)
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return filepath.Clean(path)
}

func isBelow(path, folder string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
}

// look says of an open file whether it is one of them.
func (f *ownFiles) look() secretbackend.Keeps {
	f.note()
	return func(opened fs.FileInfo) bool {
		f.note()
		return f.knows(opened)
	}
}

// note looks at what lies at the paths now.
func (f *ownFiles) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			continue // what was there is known
		}
		list := slices.DeleteFunc(f.seen[path], func(before fs.FileInfo) bool { return isSame(before, info) })
		f.seen[path] = slices.Insert(list, 0, info)[:min(len(list)+1, rememberedOf)]
	}
}

func (f *ownFiles) knows(opened fs.FileInfo) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, list := range f.seen {
		for i, own := range list {
			if i == 0 && os.SameFile(own, opened) || isSame(own, opened) {
				return true
			}
		}
	}
	return false
}

// isSame: the number of a file that is gone goes to another one.
func isSame(one, other fs.FileInfo) bool {
	return os.SameFile(one, other) && one.ModTime().Equal(other.ModTime())
}
