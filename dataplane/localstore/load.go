package localstore

import (
	"errors"
	"io/fs"
	"maps"
	"os"

	"github.com/keepgate/keepgate/shared/fault"
)

var (
	errNoJournal = errors.New("the journal is missing, and with it the changes it held")
	errNumber    = errors.New("the file carries another generation's name")
)

// loaded is a generation as it was read.
type loaded struct {
	number   uint64
	snapshot snapshot
	journal  journal
	state    State
	damage   []Damage // of the journal; the state is that before the damage
}

func (l *loaded) stale() bool { return l.snapshot.stale || l.journal.stale }

// load reads a generation. Damage to its snapshot is the last of damage, and l is nil then. The error is
// for a disk that does not let itself be read.
func (s *Store) load(number uint64) (l *loaded, damage []Damage, err error) {
	l, damaged, err := s.loadSnapshot(number)
	if err != nil || damaged != nil {
		return nil, asList(damaged), err
	}
	if err := s.replay(l); err != nil {
		return nil, nil, err
	}
	if s.options.Verify == nil {
		return l, l.damage, nil
	}
	if err := s.options.Verify(l.state); err == nil {
		return l, l.damage, nil
	} else if l.journal.frames > 0 { // all frames opened, but do not lead to the state they name
		damage = append(l.damage, newDamage(journalName(number), err))
		if l, damaged, err = s.loadSnapshot(number); err != nil || damaged != nil {
			return nil, append(damage, asList(damaged)...), err
		}
		l.damage = damage
	}
	if err := s.options.Verify(l.state); err != nil {
		return nil, append(damage, newDamage(snapshotName(number), err)), nil
	}
	return l, damage, nil
}

func asList(d *Damage) []Damage {
	if d == nil {
		return nil
	}
	return []Damage{*d}
}

func (s *Store) loadSnapshot(number uint64) (l *loaded, damaged *Damage, err error) {
	name := snapshotName(number)
	file, err := os.Open(s.path(name))
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, "localstore.Open", s.path(name), err)
	}
	defer file.Close()
	content, err := readSnapshot(file, s.options)
	if err == nil && content.generation != number {
		err = errNumber
	}
	if err != nil {
		d := newDamage(name, err)
		return nil, &d, nil
	}
	l = &loaded{number: number, snapshot: content}
	l.state = State{content.epoch, content.version, content.hash, maps.Values(content.entries)}
	return l, nil, nil
}

// replay leads l's state on through its journal.
func (s *Store) replay(l *loaded) error {
	var damage []Damage
	var err error
	l.journal, damage, err = s.replayOn(l, l.number, func(h journalHeader) error {
		switch {
		case h.snapshot != l.snapshot.file:
			return errOther
		case h.generation != l.number:
			return errNumber
		}
		return nil
	})
	l.damage = append(l.damage, damage...)
	return err
}

// replayOn leads l's state on through a journal. The error is for a disk that does not let itself be read.
func (s *Store) replayOn(l *loaded, number uint64, belongs func(journalHeader) error) (j journal, damage []Damage, err error) {
	name := journalName(number)
	data, err := os.ReadFile(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return j, []Damage{newDamage(name, errNoJournal)}, nil
	case err != nil:
		return j, nil, fault.New(fault.Unavailable, "localstore.Open", s.path(name), err)
	}
	j, err = readJournal(data, s.options, belongs, func(change Change) {
		for _, ref := range change.Deletes {
			delete(l.snapshot.entries, ref)
		}
		for _, e := range change.Puts {
			l.snapshot.entries[e.ref()] = e
		}
		l.state.Epoch, l.state.Version, l.state.Hash = change.Epoch, change.Version, change.Hash
	})
	if err = errors.Join(err, j.damage); err != nil {
		damage = []Damage{newDamage(name, err)}
	}
	return j, damage, nil
}
