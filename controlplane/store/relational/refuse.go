package relational

import (
	"context"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/shared/fault"
)

// refusal names the rows that made the database refuse a batch. The engines say too little: SQLite not
// even which foreign key, PostgreSQL in a language of its own. So the rows are looked for, after the
// rollback; when others have removed the cause meanwhile, what the engine said has to do.
func (s *Store) refusal(ctx context.Context, a *application, cause Cause, err error) error {
	var found *fault.Error
	var lookErr error
	if cause.Kind == Unique {
		found, lookErr = s.holder(ctx, a, cause)
	} else {
		found, lookErr = s.missing(ctx, a.plan, cause)
		if found == nil && lookErr == nil {
			found, lookErr = s.dependent(ctx, a.plan, cause)
		}
	}
	switch {
	case lookErr != nil:
		return s.fault(ctx, "Apply", "", lookErr)
	case found != nil:
		return found
	}
	return fault.Newf(fault.Conflict, s.dialect.Name+".Apply", cause.Table, "others changed the same rows meanwhile: %w", err)
}

func (s *Store) taken(t *layout.Table, key layout.Key, row record.Row, holder string) *fault.Error {
	var fields []string
	for _, part := range key.Parts {
		fields = append(fields, part.Field)
	}
	taken := &record.UniqueError{Table: t.Name, Column: strings.Join(fields, ","), ID: row.ID, Holder: holder}
	if !key.Overall {
		taken.Workspace = row.Workspace
	}
	return fault.New(fault.Conflict, s.dialect.Name+".Apply", t.Name+"/"+row.ID, taken)
}

// holder looks for a row outside the batch that has the id or a unique value of a row in it. Within the
// batch plan has looked already.
func (s *Store) holder(ctx context.Context, a *application, cause Cause) (refusal *fault.Error, err error) {
	for _, g := range a.candidates {
		inBatch := idsOf(a.plan, g.table)
		for _, change := range g.changes {
			if change.Expect == 0 {
				other, err := s.look(ctx, g.table, []string{"id"}, []any{change.Row.ID}, nil)
				if err != nil {
					return nil, err
				}
				if other != "" {
					return s.exists(g.table.Name, change.Row.ID), nil
				}
			}
			for _, key := range g.table.Keys {
				values, ok := keyValues(key, change.Row)
				if !ok || cause.Constraint != "" && cause.Constraint != key.Index {
					continue
				}
				other, err := s.look(ctx, g.table, key.Expressions(), anys(values), inBatch)
				if err != nil {
					return nil, err
				}
				if other != "" {
					return s.taken(g.table, key, change.Row, other), nil
				}
			}
		}
	}
	return nil, nil
}

// look returns the id of a row that has the values and is none of those to skip.
func (s *Store) look(ctx context.Context, t *layout.Table, expressions []string, values []any, skip map[string]bool) (string, error) {
	statement := "SELECT id FROM " + s.dialect.table(t.Name) + " WHERE " + strings.Join(expressions, " = ? AND ") + " = ?"
	result, err := s.writer.QueryContext(ctx, s.dialect.text(statement), values...)
	if err != nil {
		return "", err
	}
	defer result.Close()
	for result.Next() {
		var id string
		if err := result.Scan(&id); err != nil {
			return "", err
		}
		if !skip[id] {
			return id, nil
		}
	}
	return "", result.Err()
}

// missing looks for a row of the batch that refers to one that is neither stored nor in the batch.
func (s *Store) missing(ctx context.Context, p plan, cause Cause) (refusal *fault.Error, err error) {
	for _, g := range p.groups {
		for _, reference := range g.table.References() {
			if cause.Constraint != "" && cause.Constraint != reference.Constraint {
				continue
			}
			parents := changesOf(p, s.layout.Table(reference.Table))
			known := map[string]bool{}
			for _, change := range g.changes {
				target := referenced(change.Row, reference)
				if change.Delete || target == "" || known[target] {
					continue
				}
				parent, inBatch := parents[target]
				exists := inBatch && !parent.Delete
				if !inBatch {
					other, err := s.look(ctx, s.layout.Table(reference.Table), []string{"id"}, []any{target}, nil)
					if err != nil {
						return nil, err
					}
					exists = other != ""
				}
				if !exists {
					return s.unreferenced(g.table, reference, change.Row.ID, target, true), nil
				}
				known[target] = true
			}
		}
	}
	return nil, nil
}

// dependent looks for a row that keeps referring to one that the batch deletes.
func (s *Store) dependent(ctx context.Context, p plan, cause Cause) (refusal *fault.Error, err error) {
	for _, g := range p.groups {
		for _, child := range s.layout.Tables() {
			for _, reference := range child.References() {
				if reference.Table != g.table.Name || cause.Constraint != "" && cause.Constraint != reference.Constraint {
					continue
				}
				inBatch := idsOf(p, child) // deleted, or seen by missing
				for _, change := range g.changes {
					if !change.Delete {
						continue
					}
					other, err := s.look(ctx, child, []string{layout.Quote(reference.Name)}, []any{change.Row.ID}, inBatch)
					if err != nil {
						return nil, err
					}
					if other != "" {
						return s.unreferenced(child, reference, other, change.Row.ID, false), nil
					}
				}
			}
		}
	}
	return nil, nil
}

func (s *Store) unreferenced(t *layout.Table, reference layout.Foreign, id, target string, missing bool) *fault.Error {
	subject := t.Name + "/" + id
	if !missing {
		subject = reference.Table + "/" + target
	}
	return fault.New(fault.Conflict, s.dialect.Name+".Apply", subject, &record.ReferenceError{
		Table: t.Name, Column: reference.Field, Referenced: reference.Table, ID: id, Target: target, Missing: missing,
	})
}

func referenced(row record.Row, reference layout.Foreign) string {
	if reference.Field == "workspace" {
		return row.Workspace
	}
	return row.Foreign[reference.Field]
}

func changesOf(p plan, t *layout.Table) map[string]record.Change {
	found := map[string]record.Change{}
	for _, g := range p.groups {
		if g.table == t {
			for _, change := range g.changes {
				found[change.Row.ID] = change
			}
		}
	}
	return found
}

func idsOf(p plan, t *layout.Table) map[string]bool {
	found := map[string]bool{}
	for id := range changesOf(p, t) {
		found[id] = true
	}
	return found
}

func anys(values []string) []any {
	list := make([]any, len(values))
	for i, value := range values {
		list[i] = value
	}
	return list
}
