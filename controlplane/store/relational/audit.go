package relational

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const auditColumns = "node, sequence, at, body, hash"

// AppendAudit adds entries in one transaction.
func (s *Store) AppendAudit(ctx context.Context, entries []record.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if e.Node == "" || e.Sequence == 0 || e.Sequence > 1<<62 {
			return s.invalid("AppendAudit", auditSubject(e), "an entry needs a node and a sequence from 1 on")
		}
		if err := s.clean("AppendAudit", auditSubject(e), e.Node, string(e.Body)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout+time.Duration(len(entries))*patiencePerRow, errTimeout)
	defer cancel()
	err := s.appendAudit(ctx, entries)
	if err != nil && ctx.Err() == nil && s.dialect.Explain(err).Kind == Unique {
		return s.auditTaken(ctx, entries)
	}
	return s.fault(ctx, "AppendAudit", "", err)
}

func (s *Store) appendAudit(ctx context.Context, entries []record.AuditEntry) error {
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return err
	}
	defer tx.end(ctx)
	one := marks(5)
	for chunk := range slices.Chunk(entries, maxParameters/5) {
		arguments := make([]any, 0, 5*len(chunk))
		for _, e := range chunk {
			arguments = append(arguments, e.Node, int64(e.Sequence), e.At, string(e.Body), opaque(e.Hash))
		}
		statement := "INSERT INTO " + s.dialect.table("audit_entries") + " (" + auditColumns + ") VALUES " +
			one + strings.Repeat(", "+one, len(chunk)-1)
		if _, err := tx.exec(ctx, statement, arguments...); err != nil {
			return err
		}
	}
	return tx.commit(ctx)
}

// auditTaken names the first entry whose place is taken: by a stored one, or by an earlier one of the same
// call.
func (s *Store) auditTaken(ctx context.Context, entries []record.AuditEntry) error {
	taken := func(e record.AuditEntry) error {
		id := e.Node + "/" + strconv.FormatUint(e.Sequence, 10)
		return fault.New(fault.Conflict, s.dialect.Name+".AppendAudit", "audit/"+id, &record.ExistsError{Table: "audit", ID: id})
	}
	type place struct {
		node     string
		sequence uint64
	}
	seen := make(map[place]bool, len(entries))
	for _, e := range entries {
		at := place{e.Node, e.Sequence}
		if seen[at] {
			return taken(e)
		}
		seen[at] = true
		var stored int64
		err := s.row(ctx, "SELECT count(*) FROM "+s.dialect.table("audit_entries")+" WHERE node = ? AND sequence = ?",
			e.Node, int64(e.Sequence)).Scan(&stored)
		if err != nil {
			return s.fault(ctx, "AppendAudit", auditSubject(e), err)
		}
		if stored > 0 {
			return taken(e)
		}
	}
	return taken(entries[0]) // whose rival is gone: nobody deletes entries, but for a restore
}

func auditSubject(e record.AuditEntry) string {
	return "audit/" + strings.ToValidUTF8(e.Node, "?") + "/" + strconv.FormatUint(e.Sequence, 10)
}

// Audit reads entries of the journal.
func (s *Store) Audit(ctx context.Context, query record.AuditQuery) ([]record.AuditEntry, error) {
	if query.Limit < 1 {
		return nil, s.invalid("Audit", "", "the limit must be positive")
	}
	table := s.dialect.table("audit_entries")
	var condition string
	var arguments []any
	switch {
	case query.Node != "" && query.Before != nil:
		return nil, s.invalid("Audit", "", "entries of one node are read in the order of its chain")
	case query.Node != "":
		condition, arguments = " WHERE node = ? AND sequence > ? ORDER BY sequence", []any{query.Node, int64(min(query.After, 1<<62))}
	case query.Before != nil:
		place := query.Before
		condition = " WHERE (at, node, sequence) < (?, ?, ?) ORDER BY at DESC, node DESC, sequence DESC"
		arguments = []any{place.At, place.Node, int64(min(place.Sequence, 1<<62))}
	default:
		condition = " ORDER BY at DESC, node DESC, sequence DESC"
	}
	if err := s.clean("Audit", "", texts(arguments)...); err != nil {
		return nil, err
	}
	return s.auditEntries(ctx, "Audit", "SELECT "+auditColumns+" FROM "+table+condition+" LIMIT ?", append(arguments, int64(query.Limit))...)
}

// AuditHeads reads the last entry of each node's chain. It goes from node to node by the primary key
// instead of through all entries.
func (s *Store) AuditHeads(ctx context.Context) ([]record.AuditEntry, error) {
	table := s.dialect.table("audit_entries")
	return s.auditEntries(ctx, "AuditHeads", "WITH RECURSIVE nodes (node) AS (SELECT min(node) FROM "+table+
		" UNION ALL SELECT (SELECT min(e.node) FROM "+table+" AS e WHERE e.node > nodes.node) FROM nodes WHERE nodes.node IS NOT NULL)"+
		" SELECT e.node, e.sequence, e.at, e.body, e.hash FROM nodes JOIN "+table+" AS e ON e.node = nodes.node"+
		" AND e.sequence = (SELECT max(last.sequence) FROM "+table+" AS last WHERE last.node = nodes.node) ORDER BY e.node")
}

func (s *Store) auditEntries(ctx context.Context, method, statement string, arguments ...any) ([]record.AuditEntry, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	result, err := s.query(ctx, statement, arguments...)
	if err != nil {
		return nil, s.fault(ctx, method, "", err)
	}
	defer result.Close()
	var entries []record.AuditEntry
	for result.Next() {
		var e record.AuditEntry
		var sequence int64
		if err := result.Scan(&e.Node, &sequence, &e.At, &e.Body, &e.Hash); err != nil {
			return nil, s.fault(ctx, method, "", err)
		}
		e.Sequence = uint64(sequence)
		entries = append(entries, e)
	}
	return entries, s.fault(ctx, method, "", result.Err())
}
