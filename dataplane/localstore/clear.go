package localstore

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

// modeOf is how a file of a store is sealed. False: its header cannot be read, and so nothing of it can be opened.
func modeOf(path string) (mode Mode, ok bool) {
	file, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer file.Close() // only read from
	for _, magic := range []string{snapshotMagic, journalMagic} {
		if _, err := file.Seek(0, 0); err != nil {
			return "", false
		}
		if body, _, _, err := readHeader(file, magic); err == nil && len(body) > 0 {
			c := cursor{rest: body}
			mode = c.mode()
			return mode, !c.bad
		}
	}
	return "", false
}

// isStored reports whether a name is that of a file with entries, also one set aside or not finished.
func isStored(name string) bool {
	return strings.HasPrefix(name, snapshotPrefix) || strings.HasPrefix(name, journalPrefix)
}

// lookForClear notes whether all that can be told from the files is that they were sealed, and refuses a store that holds
// anything in clear, where that is asked for.
func (s *Store) lookForClear() error {
	if s.options.Mode == Off {
		return nil
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fault.New(fault.Unavailable, "localstore.Open", s.dir, err)
	}
	sealed, inClear := false, ""
	for _, file := range files {
		if mode, ok := modeOf(s.path(file.Name())); isStored(file.Name()) && ok {
			if sealed = sealed || mode != Off; mode == Off {
				inClear = file.Name()
			}
		}
	}
	s.wasSealed = sealed && inClear == ""
	if inClear != "" {
		s.report.Migrated = true
		if s.options.RefuseClear {
			return fault.Newf(fault.Denied, "localstore.Open", s.path(inClear), "it holds the configuration in clear, which declarative_config_encryption_strict refuses: "+
				"set it to off for one start, which seals all and then says so, or remove the folder to take everything from the control plane anew")
		}
	}
	return nil
}

// discard removes a file that is not needed. What it may hold in clear is overwritten first in a store that is sealed, and so
// are the wrapped keys of a sealed file: who erases the store later cannot find it any more.
func (s *Store) discard(name string) {
	if s.options.Mode == Off || !isStored(name) {
		s.options.FS.Remove(s.path(name)) // costs space only, and the next Open tries again
		return
	}
	end := keysEnd
	if mode, ok := modeOf(s.path(name)); !ok || mode == Off {
		end = wholeFile
	}
	s.destroy(name, end)
}

// destroy overwrites a file up to its end and removes it. It is called as what was left unfinished first: without its header it would
// pass for a damaged file, which is kept, or for a standby, if this were cut short.
func (s *Store) destroy(name string, end func(path string) (int64, error)) {
	if !strings.HasSuffix(name, durable.TemporarySuffix) {
		gone := name + durable.TemporarySuffix
		if err := s.options.FS.Rename(s.path(name), s.path(gone)); errors.Is(err, fs.ErrNotExist) {
			return
		} else if err == nil {
			name = gone
		}
		if err := s.options.FS.SyncDir(s.dir); err != nil {
			s.options.Log.Warn("a file that is to be destroyed may be taken for a damaged one after a loss of power now", "file", name, "error", err)
		}
	}
	if err := overwrite(s.options.FS, s.path(name), end); err != nil {
		s.options.Log.Warn("a file could not be overwritten before it is removed", "file", name, "error", err)
	}
	if err := s.options.FS.Remove(s.path(name)); err != nil {
		s.options.Log.Warn("a file that is not needed could not be removed; the next start tries again", "file", name, "error", err)
	}
}

// clearAside destroys what was set aside in clear once the store is sealed. A file whose header cannot be read goes too
// where nothing says that this store was sealed before: of a sealed one nothing could be opened without its header.
func (s *Store) clearAside() {
	if s.options.Mode == Off {
		return
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, file := range files {
		name := file.Name()
		if !isStored(name) || !strings.Contains(name, asideInfix) || strings.HasSuffix(name, durable.TemporarySuffix) {
			continue
		}
		if mode, ok := modeOf(s.path(name)); ok && mode != Off || !ok && s.wasSealed {
			continue
		}
		s.discard(name)
		s.report.Aside = slices.DeleteFunc(s.report.Aside, func(aside string) bool { return aside == name })
		s.options.Log.Warn("a file that was set aside may hold the configuration in clear: it is destroyed, since the store is sealed now", "file", name)
	}
}
