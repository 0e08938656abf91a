package localstore

import (
	"errors"
	"slices"

	"github.com/keepgate/keepgate/shared/fault"
)

// goFurther leads the newest state that can be read on through the journals of later generations, whose snapshots cannot be: a
// journal that was folded into a snapshot ends in its state, so that all that was acknowledged after it is still there. Only
// the hash of what comes out tells a generation that began here from one that began with another state.
func (s *Store) goFurther(l *loaded, found folder) (*loaded, error) {
	if s.options.Verify == nil || len(l.damage) > 0 {
		return l, nil
	}
	var damage []Damage
	frames := 0
	for _, number := range slices.Backward(found.journals) {
		if number <= l.number || len(damage) > 0 {
			continue
		}
		j, damaged, err := s.replayOn(l, number, func(h journalHeader) error {
			if h.generation != number {
				return errNumber
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		frames, damage = frames+j.frames, damaged
	}
	if frames == 0 {
		return l, nil
	}
	if s.options.Verify(l.state) == nil {
		l.journal.frames += frames
		s.note(damage)
		return l, nil
	}
	number := l.number
	l, _, err := s.load(number)
	if err == nil && l == nil {
		err = fault.New(fault.Unavailable, "localstore.Open", s.path(snapshotName(number)), errors.New("it reads otherwise the second time"))
	}
	return l, err
}
