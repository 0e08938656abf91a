package relational

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// refsOf is how a revision's refs are stored: once per run of rows of one table and workspace.
type refsOf struct {
	Table     string   `json:"table"`
	Workspace string   `json:"workspace,omitempty"`
	Deleted   bool     `json:"deleted,omitempty"`
	IDs       []string `json:"ids"`
}

func encodeRefs(groups []group) (string, error) {
	var runs []refsOf
	for _, g := range groups {
		for _, change := range g.changes {
			row := change.Row
			last := len(runs) - 1
			if last < 0 || runs[last].Table != row.Table || runs[last].Workspace != row.Workspace || runs[last].Deleted != change.Delete {
				runs = append(runs, refsOf{row.Table, row.Workspace, change.Delete, nil})
				last++
			}
			runs[last].IDs = append(runs[last].IDs, row.ID)
		}
	}
	text, err := json.Marshal(runs)
	if err != nil {
		return "", fmt.Errorf("encoding the refs: %w", err)
	}
	return string(text), nil
}

func decodeRefs(text []byte) ([]record.Ref, error) {
	var runs []refsOf
	if err := json.Unmarshal(text, &runs); err != nil {
		return nil, fmt.Errorf("decoding the refs: %w", err)
	}
	var refs []record.Ref
	for _, run := range runs {
		for _, id := range run.IDs {
			refs = append(refs, record.Ref{Table: run.Table, Workspace: run.Workspace, ID: id, Deleted: run.Deleted})
		}
	}
	return refs, nil
}

// appendChange gives the transaction its revision. The refs of a large batch, which may be megabytes, are
// written under a number that nobody reads, before the revision row is locked, and only renumbered after.
func (s *Store) appendChange(ctx context.Context, tx *transaction, batch string, p plan) (uint64, error) {
	refs, err := encodeRefs(p.groups)
	if err != nil {
		return 0, err
	}
	changes, at := s.dialect.table("changes"), time.Now().Unix()
	insert := "INSERT INTO " + changes + " (revision, at, batch, refs) VALUES (?, ?, ?, ?)"
	draft := -1 - rand.Int64N(1<<62)
	if p.size > smallBatch {
		if _, err := tx.exec(ctx, insert, draft, at, batch, refs); err != nil {
			return 0, fmt.Errorf("writing the change: %w", err)
		}
	}
	var number int64
	row := tx.conn.QueryRowContext(ctx, "UPDATE "+s.dialect.table("revision")+
		" SET number = number + 1 WHERE id = 1 RETURNING number")
	if err := row.Scan(&number); err != nil {
		return 0, fmt.Errorf("raising the revision: %w", err)
	}
	if p.size > smallBatch {
		_, err = tx.exec(ctx, "UPDATE "+changes+" SET revision = ? WHERE revision = ?", number, draft)
	} else {
		_, err = tx.exec(ctx, insert, number, at, batch, refs)
	}
	if err != nil {
		return 0, fmt.Errorf("numbering the change: %w", err)
	}
	return uint64(number), nil
}

// Head returns the newest revision.
func (s *Store) Head(ctx context.Context) (uint64, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	var number int64
	err := s.row(ctx, "SELECT number FROM "+s.dialect.table("revision")).Scan(&number)
	s.see(uint64(number))
	return uint64(number), s.fault(ctx, "Head", "", err)
}

// History returns the revisions that follow after.
func (s *Store) History(ctx context.Context, after uint64, limit int) ([]record.Revision, error) {
	if limit < 1 {
		return nil, s.invalid("History", "", "the limit must be positive")
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	// One transaction, since a revision that is added between two statements would look like a gap.
	tx, err := s.begin(ctx, s.reader, s.dialect.BeginSnapshot)
	if err != nil {
		return nil, s.fault(ctx, "History", "", err)
	}
	defer tx.end(ctx)
	var head int64
	if err := tx.conn.QueryRowContext(ctx, "SELECT number FROM "+s.dialect.table("revision")).Scan(&head); err != nil {
		return nil, s.fault(ctx, "History", "", err)
	}
	s.see(uint64(head))
	switch {
	case after > uint64(head):
		s.seen.Store(uint64(head)) // a restored database
		return nil, fault.New(fault.Conflict, s.dialect.Name+".History", "", record.ErrRewound)
	case after == uint64(head):
		return nil, nil
	}
	revisions, err := s.revisions(ctx, tx, after, limit)
	if err != nil {
		return nil, s.fault(ctx, "History", "", err)
	}
	if len(revisions) == 0 || revisions[0].Number != after+1 {
		return nil, fault.New(fault.NotFound, s.dialect.Name+".History", "", record.ErrTrimmed)
	}
	return revisions, nil
}

func (s *Store) revisions(ctx context.Context, tx *transaction, after uint64, limit int) ([]record.Revision, error) {
	result, err := tx.query(ctx, "SELECT revision, at, refs FROM "+s.dialect.table("changes")+
		" WHERE revision > ? ORDER BY revision LIMIT ?", int64(after), int64(limit))
	if err != nil {
		return nil, err
	}
	defer result.Close()
	var revisions []record.Revision
	for result.Next() {
		var number int64
		var revision record.Revision
		var refs []byte
		if err := result.Scan(&number, &revision.At, &refs); err != nil {
			return nil, err
		}
		revision.Number = uint64(number)
		if revision.Refs, err = decodeRefs(refs); err != nil {
			return nil, err
		}
		revisions = append(revisions, revision)
	}
	return revisions, result.Err()
}

// Trim forgets all revisions before keepFrom.
func (s *Store) Trim(ctx context.Context, keepFrom uint64) error {
	keepFrom = min(keepFrom, 1<<62)
	ctx, cancel := s.brief(ctx)
	defer cancel()
	return s.change(ctx, "Trim", "", nil, "DELETE FROM "+s.dialect.table("changes")+
		" WHERE revision >= 0 AND revision < ?", int64(keepFrom))
}
