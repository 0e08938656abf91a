package localstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Use is what one key seals in one file, or what lies there in clear.
type Use struct {
	File    string
	Section localkeys.Section
	Mode    Mode   // Off: in clear
	KeyID   string // which key-encryption key; "" in clear
	Scoped  bool   // an operator gave it; else it comes of a node's own key
	Values  uint64 // in a snapshot
	Changes int    // in a journal: how many changes have parts of it
}

// Usage is how the files of a store are sealed.
type Usage struct {
	Uses       []Use
	Aside      []string // set aside: never read again
	Unfinished []string // left by a process that ended, or under way
	Unreadable []string // no header, or not its own
	ClearFiles []string // of those set aside or unfinished, what is in clear
	Keys       bool     // scoped keys are remembered
}

// Clear counts values and changes that lie in clear.
func (u Usage) Clear() (values uint64, changes int) {
	for _, use := range u.Uses {
		if use.Mode == Off {
			values, changes = values+use.Values, changes+use.Changes
		}
	}
	return values, changes
}

// InUse reports whether anything is sealed by a key.
func (u Usage) InUse(id string) bool {
	return slices.ContainsFunc(u.Uses, func(use Use) bool { return use.KeyID == id })
}

// Look reads how the files in a folder are sealed, without any key and also while a process has the store.
func Look(dir string) (Usage, error) {
	for attempt := 0; ; attempt++ {
		usage, err := look(dir)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 || !exists(dir) { // a file went while it was looked at
			if err != nil {
				err = fault.New(fault.Unavailable, "localstore.Look", dir, err)
			}
			return usage, err
		}
	}
}

func look(dir string) (u Usage, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return u, err
	}
	for _, file := range files {
		name := file.Name()
		beside := strings.HasSuffix(name, durable.TemporarySuffix) || strings.Contains(name, asideInfix)
		if mode, ok := modeOf(filepath.Join(dir, name)); beside && isStored(name) && ok && mode == Off {
			u.ClearFiles = append(u.ClearFiles, name)
		}
		switch {
		case name == keysName:
			u.Keys = true
		case !isStored(name) && !isKeys(name):
		case strings.HasSuffix(name, durable.TemporarySuffix):
			u.Unfinished = append(u.Unfinished, name)
		case strings.Contains(name, asideInfix):
			u.Aside = append(u.Aside, name)
		default:
			uses, whole, err := usesOf(filepath.Join(dir, name))
			if err != nil {
				return u, err
			}
			u.Uses = append(u.Uses, uses...)
			if !whole {
				u.Unreadable = append(u.Unreadable, name)
			}
		}
	}
	return u, nil
}

// usesOf is what one file says of itself. It is not whole when its header cannot be read, or a frame of a journal, which
// ends what can be told.
func usesOf(path string) (uses []Use, whole bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close() // only read from
	name := filepath.Base(path)
	if strings.HasPrefix(name, snapshotPrefix) {
		body, _, _, err := readHeader(file, snapshotMagic)
		if err != nil {
			return nil, false, nil
		}
		h, err := decodeSnapshotHeader(body)
		if err != nil {
			return nil, false, nil
		}
		for _, s := range h.sections {
			use := newUse(name, h.mode, s.Section, s.wrapped)
			use.Values = s.entries
			uses = append(uses, use)
		}
		return uses, true, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	uses, whole = usesOfJournal(name, data)
	return uses, whole, nil
}

func newUse(name string, mode Mode, section localkeys.Section, wrapped []byte) Use {
	use := Use{File: name, Section: section, Mode: mode}
	use.KeyID, use.Scoped, _ = localkeys.WrappedBy(wrapped)
	return use
}

func usesOfJournal(name string, data []byte) (uses []Use, whole bool) {
	body, _, size, err := readHeader(bytes.NewReader(data), journalMagic)
	if err != nil {
		return nil, false
	}
	h, err := decodeJournalHeader(body)
	if err != nil {
		return nil, false
	}
	for sequence, rest := uint64(0), data[size:]; len(rest) > 0; sequence++ {
		frame, there, err := splitFrame(rest, sequence)
		if err != nil {
			return uses, false
		}
		if !there {
			break // an append under way, or one that was cut short
		}
		rest = rest[frameHead+len(frame):]
		c := cursor{rest: frame}
		c.take(c.uint32()) // the control part
		for range c.uint16() {
			section := c.section()
			wrapped := c.take(c.uint16())
			if c.bad || len(uses) == maxSections {
				return uses, false
			}
			uses = append(uses, newUse(name, h.mode, section, wrapped))
		}
		for range c.uint16() {
			at := c.uint16()
			c.take(c.uint32())
			if c.bad || at >= len(uses) {
				return uses, false
			}
			uses[at].Changes++
		}
	}
	return uses, true
}

// Usage is how the store's files are sealed now.
func (s *Store) Usage() (Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.erased || !exists(s.dir) {
		return Usage{}, nil
	}
	return Look(s.dir)
}
