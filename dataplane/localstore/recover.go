package localstore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	snapshotPrefix = "snapshot-"
	journalPrefix  = "journal-"
	asideInfix     = ".aside-"
)

func snapshotName(number uint64) string { return fmt.Sprintf("%s%016x", snapshotPrefix, number) }
func journalName(number uint64) string  { return fmt.Sprintf("%s%016x", journalPrefix, number) }

// folder is what lies in the store's folder.
type folder struct{ snapshots, journals []uint64 } // newest first

// scan lists the folder and removes what an unfinished Replace left.
func (s *Store) scan() (f folder, err error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return f, fault.New(fault.Unavailable, "localstore.Open", s.dir, err)
	}
	for _, file := range files {
		name := file.Name()
		if number, ok := numberOf(name, snapshotPrefix); ok {
			f.snapshots = append(f.snapshots, number)
		} else if number, ok := numberOf(name, journalPrefix); ok {
			f.journals = append(f.journals, number)
		} else if strings.HasSuffix(name, durable.TemporarySuffix) {
			s.discard(name)
		}
	}
	newestFirst := func(a, b uint64) int { return cmp.Compare(b, a) }
	slices.SortFunc(f.snapshots, newestFirst)
	slices.SortFunc(f.journals, newestFirst)
	return f, nil
}

func numberOf(name, prefix string) (number uint64, ok bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	_, err := fmt.Sscanf(digits, "%016x", &number)
	return number, err == nil && fmt.Sprintf("%016x", number) == digits
}

// recover finds the newest whole state and leaves the store ready for what comes.
func (s *Store) recover() (State, error) {
	s.report.Mode = s.options.Mode
	found, err := s.scan()
	if err != nil {
		return State{}, err
	}
	s.last = max(first(found.snapshots), first(found.journals))
	s.loseStrayJournals(found)
	var newest *loaded
	for _, number := range found.snapshots {
		l, damage, err := s.load(number)
		if err != nil {
			return State{}, err
		}
		s.note(damage)
		if newest = l; l != nil {
			break
		}
	}
	if newest == nil {
		return s.startEmpty(found), nil
	}
	if newest, err = s.goFurther(newest, found); err != nil {
		return State{}, err
	}
	s.adopt(newest, found)
	return newest.state, nil
}

func first(numbers []uint64) uint64 {
	if len(numbers) == 0 {
		return 0
	}
	return numbers[0]
}

// loseStrayJournals removes journals whose snapshot never got its name. One with changes in it had a
// snapshot: where that would be the newest it was taken away, which is noted; older ones are left over
// from a pruning that was cut short, and go with the next.
func (s *Store) loseStrayJournals(found folder) {
	for _, number := range found.journals {
		if slices.Contains(found.snapshots, number) || number < first(found.snapshots) {
			continue
		}
		name := journalName(number)
		_, empty := newJournal(Options{Mode: Off}, 0, fileID{})
		if info, err := os.Stat(s.path(name)); err == nil && info.Size() <= int64(len(empty)) {
			s.discard(name)
			continue
		}
		s.note([]Damage{newDamage(name, errors.New("its snapshot is missing"))})
	}
}

func (s *Store) note(damage []Damage) {
	for _, d := range damage {
		what := "local store is damaged"
		if d.Kind == fault.Unavailable {
			what = "local store is damaged or sealed by another key"
		}
		s.options.Log.Warn(what, "file", d.File, "kind", d.Kind.String(), "reason", d.Reason)
	}
	s.report.Damage = append(s.report.Damage, damage...)
}

// startEmpty is for a folder without any usable state. What only lacks its key stays where it is until a
// new snapshot is durable: an Open with the right key finds it again.
func (s *Store) startEmpty(found folder) State {
	if len(s.report.Damage) > 0 {
		s.report.Status = Unopenable
		for _, number := range found.snapshots {
			s.sealed = append(s.sealed, snapshotName(number), journalName(number))
		}
	}
	otherwise := func(d Damage) bool { return d.Kind != fault.Unavailable }
	switch {
	case len(s.report.Damage) == 0:
	case !slices.ContainsFunc(s.report.Damage, otherwise):
		s.options.Log.Error("local store cannot be opened with this node's keys and stays as it is until a new snapshot is written; waiting for the control plane", "files", s.sealed)
	default:
		s.setAsideDamaged()
		s.clearAside()
		s.options.Log.Error("local store cannot be opened and is set aside; waiting for the control plane", "files", s.report.Aside)
	}
	return State{Entries: iter.Seq[Entry](func(func(Entry) bool) {})}
}

// adopt goes on with what was loaded: as it is, or written again.
func (s *Store) adopt(l *loaded, found folder) {
	s.report.Status, s.report.Frames, s.report.Torn = Whole, l.journal.frames, l.journal.torn
	s.report.hold(0, l.state.Epoch, l.state.Version)
	if l.journal.torn > 0 {
		s.options.Log.Info("local store dropped an unfinished append", "bytes", l.journal.torn)
	}
	switch {
	case len(s.report.Damage) > 0:
		s.report.Status, s.report.Rewritten = Recovered, "damage"
	case l.snapshot.mode != s.options.Mode || l.journal.header.mode != s.options.Mode:
		s.report.Rewritten = "another mode"
	case l.stale():
		s.report.Rewritten = "a previous key"
	default:
		if err := s.goOn(l, found); err == nil {
			return
		}
		s.report.Rewritten = "a journal that takes nothing"
	}
	if !l.stale() && len(l.damage) == 0 {
		s.standby = l.number
	}
	s.options.Log.Info("local store is written again", "reason", s.report.Rewritten, "version", l.state.Version)
	if err := s.replace(l.state); err != nil {
		s.options.Log.Error("local store could not be written again and takes no changes until a whole snapshot is written", "error", err)
	}
}

// goOn appends to the generation that was loaded.
func (s *Store) goOn(l *loaded, found folder) error {
	log, err := durable.OpenLogOn(s.options.FS, s.path(journalName(l.number)), fileMode, l.journal.writer.size)
	if err != nil {
		return err
	}
	s.current = &generation{l.number, l.snapshot.size, log, l.journal.writer}
	if i := slices.Index(found.snapshots, l.number); i+1 < len(found.snapshots) {
		s.standby = found.snapshots[i+1]
	}
	if mode, ok := modeOf(s.path(snapshotName(s.standby))); s.options.Mode != Off && ok && mode == Off {
		s.standby = 0 // sealing was cut short after the new one was durable
	}
	s.report.Generation = l.number
	s.prune()
	return nil
}

// prune removes all generations but the current one and its standby, after it has set aside what was
// damaged. It is called when the current one is durable, so what fails here only costs space.
func (s *Store) prune() {
	s.setAsideDamaged()
	s.clearAside()
	found, err := s.scan()
	if err != nil {
		return
	}
	keep := func(number uint64) bool { return number == s.current.number || number == s.standby }
	for _, number := range found.snapshots {
		if !keep(number) && !s.isDamaged(snapshotName(number)) {
			s.discard(snapshotName(number))
		}
	}
	for _, number := range found.journals {
		if !keep(number) && !s.isDamaged(journalName(number)) {
			s.discard(journalName(number))
		}
	}
}

func (s *Store) isDamaged(name string) bool {
	return slices.ContainsFunc(s.report.Damage, func(d Damage) bool { return d.File == name })
}

func (s *Store) setAsideDamaged() {
	for _, name := range s.sealed {
		s.setAside(name)
	}
	s.sealed = nil
	for _, d := range s.report.Damage {
		s.setAside(d.File)
	}
}

// setAside renames a file so that it is never read again and never deleted.
func (s *Store) setAside(name string) {
	if _, err := os.Lstat(s.path(name)); err != nil {
		return // missing from the start, or aside already
	}
	aside := name + asideInfix + time.Now().UTC().Format("20060102T150405.000000000Z")
	err := errors.Join(s.options.FS.Rename(s.path(name), s.path(aside)), s.options.FS.SyncDir(s.dir))
	if err != nil {
		s.options.Log.Error("local store could not set a file aside", "file", name, "error", err)
		return
	}
	s.report.Aside = append(s.report.Aside, aside)
}

// Check reads every file of the store again and returns what is damaged, the standby included, which
// Open reads only in need. It changes nothing; appends wait for it.
func (s *Store) Check() ([]Damage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.scan()
	if err != nil {
		return nil, err
	}
	var all []Damage
	for _, number := range found.snapshots {
		l, damage, err := s.load(number)
		if err != nil {
			return all, err
		}
		all = append(all, damage...)
		if l != nil && l.journal.torn > 0 {
			all = append(all, newDamage(journalName(number), fmt.Errorf("it ends in the middle of a frame: %w", io.ErrUnexpectedEOF)))
		}
	}
	return all, nil
}
