package relational

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/shared/fault"
)

// maxValueBytes bounds a value of a unique key: PostgreSQL refuses index entries beyond 2704 bytes, and a
// row that one engine takes the other one must take too.
const maxValueBytes = 2000

// plan is a batch that is well-formed, in the order in which it is written.
type plan struct {
	groups []group
	silent bool
	size   int

	sealedUnder map[string]bool // ids of the keys of what is written
}

// group is the changes of one table, by id.
type group struct {
	table   *layout.Table
	changes []record.Change
}

func (s *Store) plan(batch record.Batch) (plan, error) {
	byTable := map[string][]record.Change{}
	for _, change := range batch.Changes {
		if err := s.checkChange(change); err != nil {
			return plan{}, err
		}
		byTable[change.Row.Table] = append(byTable[change.Row.Table], change)
	}
	p := plan{silent: batch.Silent, size: len(batch.Changes)}
	for _, table := range s.layout.Tables() {
		changes := byTable[table.Name]
		if len(changes) == 0 {
			continue
		}
		slices.SortFunc(changes, func(a, b record.Change) int { return cmp.Compare(a.Row.ID, b.Row.ID) })
		for i := 1; i < len(changes); i++ {
			if changes[i].Row.ID == changes[i-1].Row.ID {
				return plan{}, s.invalid("Apply", table.Name+"/"+changes[i].Row.ID, "the batch changes the row twice")
			}
		}
		if err := s.checkKeys(table, changes); err != nil {
			return plan{}, err
		}
		p.groups = append(p.groups, group{table, changes})
	}
	p.sealedUnder = p.keys()
	return p, nil
}

func (s *Store) checkChange(change record.Change) error {
	row := change.Row
	t, err := s.table("Apply", row.Table)
	if err != nil {
		return err
	}
	subject := row.Table + "/" + row.ID
	switch {
	case row.ID == "" || len(row.ID) > maxValueBytes:
		return s.invalid("Apply", row.Table, "a row needs an id, of at most %d bytes", maxValueBytes)
	case t.Workspaced == (row.Workspace == ""):
		return s.invalid("Apply", subject, "rows of this table have a workspace: %t", t.Workspaced)
	case change.Delete && change.Expect == 0:
		return s.invalid("Apply", subject, "a row that must be absent cannot be deleted")
	}
	if err := s.clean("Apply", subject, row.ID, row.Workspace, string(row.Body)); err != nil {
		return err
	}
	if change.Delete {
		return nil
	}
	return s.checkFields(t, subject, row)
}

func (s *Store) checkFields(t *layout.Table, subject string, row record.Row) error {
	for field, value := range row.Unique {
		if _, ok := t.Value(field); !ok {
			return s.invalid("Apply", subject, "%s is no part of a unique key", field)
		}
		if len(value) > maxValueBytes {
			return s.invalid("Apply", subject, "%s is longer than %d bytes", field, maxValueBytes)
		}
		if err := s.clean("Apply", subject, value); err != nil {
			return err
		}
	}
	for field, value := range row.Foreign {
		if _, ok := t.Reference(field); !ok || value == "" {
			return s.invalid("Apply", subject, "%s is no foreign key, or is empty", field)
		}
		if err := s.clean("Apply", subject, value); err != nil {
			return err
		}
	}
	for field, value := range row.Sealed {
		if _, ok := t.Secret(field); !ok {
			return s.invalid("Apply", subject, "%s is no top-level encrypted field", field)
		}
		if err := s.clean("Apply", subject, value); err != nil {
			return err
		}
	}
	return s.clean("Apply", subject, row.Tags...)
}

// checkKeys refuses two rows of one batch with the same unique value, which the database would refuse as
// well, but without saying which two.
func (s *Store) checkKeys(t *layout.Table, changes []record.Change) error {
	if len(changes) < 2 {
		return nil
	}
	for _, key := range t.Keys {
		holders := make(map[string]string, len(changes))
		for _, change := range changes {
			if change.Delete {
				continue
			}
			values, ok := keyValues(key, change.Row)
			if !ok {
				continue
			}
			joined := strings.Join(values, "\x00") // no value holds one
			if holder, taken := holders[joined]; taken {
				return s.taken(t, key, change.Row, holder)
			}
			holders[joined] = change.Row.ID
		}
	}
	return nil
}

// keyValues returns what a row has in a key's index, in the order of layout.Key.Expressions. A row without
// a value, which equals no other, is not ok.
func keyValues(key layout.Key, row record.Row) (values []string, ok bool) {
	if !key.Overall {
		values = append(values, row.Workspace)
	}
	for _, part := range key.Parts {
		if part.Reference {
			values = append(values, row.Foreign[part.Field])
			continue
		}
		value, found := row.Unique[part.Field]
		if !found {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

func (s *Store) table(method, name string) (*layout.Table, error) {
	if t := s.layout.Table(name); t != nil {
		return t, nil
	}
	return nil, fault.Newf(fault.Invalid, s.dialect.Name+"."+method, "", "there is no table of that name")
}

func (s *Store) invalid(method, subject, format string, arguments ...any) error {
	return fault.Newf(fault.Invalid, s.dialect.Name+"."+method, subject, format, arguments...)
}

// clean refuses text that PostgreSQL cannot hold, on every engine.
func (s *Store) clean(method, subject string, values ...string) error {
	for _, value := range values {
		if !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
			return s.invalid(method, strings.ToValidUTF8(subject, "?"), "text must be UTF-8 without NUL")
		}
	}
	return nil
}
