package publish

import (
	"maps"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Kept says how much of the configuration does not open on this node, so that data planes keep their last form of it.
type Kept struct {
	Rows int            `json:"rows"`
	Keys map[string]int `json:"keys"` // those of them that wait for a key of the ring, by its id
}

// Kept returns what of the newest configuration does not open.
func (p *Publisher) Kept() Kept {
	if kept := p.kept.Load(); kept != nil {
		return Kept{kept.Rows, maps.Clone(kept.Keys)}
	}
	return Kept{}
}

// stuck is the rows that do not open, by cause: the id of the key that is missing, "" for whatever else.
type stuck struct {
	causes map[record.Ref]string
	rows   map[string]map[record.Ref]struct{}
	tables map[string]int // how many of each table
}

func newStuck() *stuck {
	return &stuck{causes: map[record.Ref]string{}, rows: map[string]map[record.Ref]struct{}{}, tables: map[string]int{}}
}

// add notes that a row does not open, and reports whether that is new.
func (s *stuck) add(ref record.Ref, cause string) bool {
	before, held := s.causes[ref]
	if held && before == cause {
		return false
	}
	s.remove(ref)
	s.causes[ref] = cause
	s.tables[ref.Table]++
	if s.rows[cause] == nil {
		s.rows[cause] = map[record.Ref]struct{}{}
	}
	s.rows[cause][ref] = struct{}{}
	return true
}

func (s *stuck) remove(ref record.Ref) {
	cause, held := s.causes[ref]
	if !held {
		return
	}
	delete(s.causes, ref)
	if s.tables[ref.Table]--; s.tables[ref.Table] == 0 {
		delete(s.tables, ref.Table)
	}
	if delete(s.rows[cause], ref); len(s.rows[cause]) == 0 {
		delete(s.rows, cause)
	}
}

func (s *stuck) count() *Kept {
	kept := &Kept{Rows: len(s.causes), Keys: map[string]int{}}
	for cause, rows := range s.rows {
		if cause != "" {
			kept.Keys[cause] = len(rows)
		}
	}
	return kept
}

// causeOf names the key that is missing, "" when it is something else.
func causeOf(err error) string {
	if id, found := strings.CutPrefix(fault.SubjectOf(err), "key/"); found && fault.KindOf(err) == fault.Unavailable {
		return id
	}
	return ""
}
