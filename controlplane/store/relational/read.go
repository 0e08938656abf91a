package relational

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/shared/fault"
)

// Get reads one row of a workspace.
func (s *Store) Get(ctx context.Context, table, workspace, id string) (record.Row, error) {
	return s.one(ctx, "Get", table, table+"/"+id, "workspace = ? AND id = ?", workspace, id)
}

// ByUnique reads the row whose field, unique by itself, has a value.
func (s *Store) ByUnique(ctx context.Context, table, workspace, field, value string) (record.Row, error) {
	t, err := s.table("ByUnique", table)
	if err != nil {
		return record.Row{}, err
	}
	key, ok := t.KeyOf(field)
	if !ok {
		return record.Row{}, s.invalid("ByUnique", table, "%s is not unique by itself", field)
	}
	condition, arguments := layout.Quote(key.Parts[0].Name)+" = ?", []any{value}
	if !key.Overall {
		condition, arguments = "workspace = ? AND "+condition, []any{workspace, value}
	}
	// The value may be a secret's fingerprint or a user's name: the subject names the field alone.
	return s.one(ctx, "ByUnique", table, table+"/"+field, condition, arguments...)
}

func (s *Store) one(ctx context.Context, method, table, subject, condition string, arguments ...any) (record.Row, error) {
	t, err := s.table(method, table)
	if err != nil {
		return record.Row{}, err
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	if err := s.clean(method, subject, texts(arguments)...); err != nil {
		return record.Row{}, err
	}
	row, err := newScanner(t).row(s.row(ctx, s.selectRows(t)+" WHERE "+condition, arguments...))
	if errors.Is(err, sql.ErrNoRows) {
		return record.Row{}, fault.New(fault.NotFound, s.dialect.Name+"."+method, subject, nil)
	}
	return row, s.fault(ctx, method, subject, err)
}

// List reads rows in the order of their ids.
func (s *Store) List(ctx context.Context, query record.Query) ([]record.Row, error) {
	t, statement, arguments, err := s.listing(query)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	result, err := s.query(ctx, statement, arguments...)
	if err != nil {
		return nil, s.fault(ctx, "List", query.Table, err)
	}
	return s.listed(ctx, t, result)
}

// ListOf is List for a copy of a database: it is ok only where this is the database of that id, and has all up to a revision. Both are
// looked up where the rows are, since a pool of connections may lead to several servers.
func (s *Store) ListOf(ctx context.Context, query record.Query, database string, least uint64) (found []record.Row, ok bool, err error) {
	t, statement, arguments, err := s.listing(query)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	tx, err := s.begin(ctx, s.reader, s.dialect.BeginSnapshot)
	if err != nil {
		return nil, false, s.fault(ctx, "ListOf", query.Table, err)
	}
	defer tx.end(ctx)
	var number int64
	var id sql.NullString
	about := "SELECT number, (SELECT value FROM " + s.dialect.table("meta") + " WHERE name = ?) FROM " + s.dialect.table("revision")
	if err := tx.conn.QueryRowContext(ctx, s.dialect.text(about), record.MetaDatabase).Scan(&number, &id); err != nil {
		return nil, false, s.fault(ctx, "ListOf", "revision", err)
	}
	if id.String != database {
		return nil, false, fault.Newf(fault.Invalid, s.dialect.Name+".ListOf", "meta", "it is another database")
	}
	if uint64(number) < least {
		return nil, false, nil
	}
	result, err := tx.query(ctx, statement, arguments...)
	if err != nil {
		return nil, false, s.fault(ctx, "ListOf", query.Table, err)
	}
	found, err = s.listed(ctx, t, result)
	return found, err == nil, err
}

// listing is the statement that a query becomes.
func (s *Store) listing(query record.Query) (t *layout.Table, statement string, arguments []any, err error) {
	if t, err = s.table("List", query.Table); err != nil {
		return nil, "", nil, err
	}
	conditions, arguments, err := s.conditions(t, query)
	if err != nil {
		return nil, "", nil, err
	}
	if query.Secrets {
		t = t.Secrets()
	}
	statement = s.selectRows(t) + " WHERE " + strings.Join(conditions, " AND ") + " ORDER BY "
	if s.inWorkspace(t, query) {
		statement += "workspace, "
	}
	statement += "id"
	if query.Limit > 0 {
		statement, arguments = statement+" LIMIT ?", append(arguments, int64(query.Limit))
	}
	return t, statement, arguments, nil
}

func (s *Store) listed(ctx context.Context, t *layout.Table, result *sql.Rows) ([]record.Row, error) {
	var found []record.Row
	for row, err := range rows(t, result) {
		if err != nil {
			return nil, s.fault(ctx, "List", t.Name, err)
		}
		found = append(found, row)
	}
	return found, nil
}

// inWorkspace says that a query asks for nothing but the rows of a workspace, which the index over workspace
// and id has in their order. It is asked for as a range of that index, since PostgreSQL sorts the whole
// workspace for each page while it has no statistics of a table that was just filled.
func (s *Store) inWorkspace(t *layout.Table, query record.Query) bool {
	return t.Workspaced && !query.AnyWorkspace && len(query.Unique)+len(query.Foreign)+len(query.Tags) == 0
}

func (s *Store) conditions(t *layout.Table, query record.Query) (conditions []string, arguments []any, err error) {
	add := func(condition string, argument any) {
		conditions, arguments = append(conditions, condition), append(arguments, argument)
	}
	switch {
	case s.inWorkspace(t, query):
		conditions, arguments = []string{"(workspace, id) > (?, ?)", "workspace <= ?"}, []any{query.Workspace, query.After, query.Workspace}
	case query.AnyWorkspace:
		add("id > ?", query.After)
	default:
		add("id > ?", query.After)
		add("workspace = ?", query.Workspace)
	}
	for _, field := range slices.Sorted(maps.Keys(query.Unique)) {
		column, ok := t.Value(field)
		if !ok {
			return nil, nil, s.invalid("List", t.Name, "%s is no part of a unique key", field)
		}
		add(layout.Quote(column.Name)+" = ?", query.Unique[field])
	}
	for _, field := range slices.Sorted(maps.Keys(query.Foreign)) {
		column, ok := t.Reference(field)
		if !ok {
			return nil, nil, s.invalid("List", t.Name, "%s is no foreign key", field)
		}
		add(layout.Quote(column.Name)+" = ?", query.Foreign[field])
	}
	if err := s.clean("List", t.Name, append(texts(arguments), query.Tags...)...); err != nil {
		return nil, nil, err
	}
	if len(query.Tags) > 0 {
		condition, values := s.dialect.HasTags(query.Tags, query.AnyTag)
		conditions, arguments = append(conditions, condition), append(arguments, values...)
	}
	return conditions, arguments, nil
}

// Snapshot lends one consistent read of all rows. It has no time limit but ctx's.
func (s *Store) Snapshot(ctx context.Context, read func(uint64, iter.Seq2[record.Row, error]) error) error {
	tx, err := s.begin(ctx, s.reader, s.dialect.BeginSnapshot)
	if err != nil {
		return s.fault(ctx, "Snapshot", "", err)
	}
	defer tx.end(ctx)
	var revision int64
	err = tx.conn.QueryRowContext(ctx, "SELECT number FROM "+s.dialect.table("revision")).Scan(&revision)
	if err != nil {
		return s.fault(ctx, "Snapshot", "", err)
	}
	return read(uint64(revision), s.everything(ctx, tx))
}

func (s *Store) everything(ctx context.Context, tx *transaction) iter.Seq2[record.Row, error] {
	return func(yield func(record.Row, error) bool) {
		for _, table := range s.layout.Tables() {
			result, err := tx.query(ctx, s.selectRows(table)+" ORDER BY id")
			if err != nil {
				yield(record.Row{}, s.fault(ctx, "Snapshot", table.Name, err))
				return
			}
			for row, err := range rows(table, result) {
				if !yield(row, s.fault(ctx, "Snapshot", table.Name, err)) || err != nil {
					return
				}
			}
		}
	}
}

// selectRows is the beginning of every statement that reads rows of a table.
func (s *Store) selectRows(t *layout.Table) string {
	var columns []string
	for _, name := range t.Columns() {
		if name == "tags" {
			columns = append(columns, s.dialect.ReadTags)
			continue
		}
		columns = append(columns, layout.Quote(name))
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + s.dialect.table(t.Name)
}

func rows(t *layout.Table, result *sql.Rows) iter.Seq2[record.Row, error] {
	return func(yield func(record.Row, error) bool) {
		defer result.Close()
		scan := newScanner(t)
		for result.Next() {
			row, err := scan.row(result)
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := result.Err(); err != nil {
			yield(record.Row{}, err)
		}
	}
}

// scanner reads rows of one table, one after the other into the same variables.
type scanner struct {
	table         *layout.Table
	id, workspace string
	generation    int64
	named         []sql.NullString
	tags          sql.NullString
	body          []byte
	into          []any // all of these, in the order of layout.Table.Columns
}

func newScanner(t *layout.Table) *scanner {
	s := &scanner{table: t, named: make([]sql.NullString, len(t.Values)+len(t.Foreign)+len(t.Sealed))}
	s.into = append(s.into, &s.id, &s.workspace, &s.generation)
	for i := range s.named {
		s.into = append(s.into, &s.named[i])
	}
	if !t.Bare() {
		s.into = append(s.into, &s.tags, &s.body)
	}
	return s
}

func (s *scanner) row(from interface{ Scan(into ...any) error }) (record.Row, error) {
	if err := from.Scan(s.into...); err != nil {
		return record.Row{}, err
	}
	row := record.Row{Table: s.table.Name, ID: s.id, Workspace: s.workspace, Generation: uint64(s.generation), Body: s.body}
	s.body = nil // Scan makes another one
	named := s.named
	for _, c := range s.table.Values {
		named = take(&row.Unique, c.Field, named)
	}
	for _, f := range s.table.Foreign {
		named = take(&row.Foreign, f.Field, named)
	}
	for _, c := range s.table.Sealed {
		named = take(&row.Sealed, c.Field, named)
	}
	if s.tags.Valid {
		if err := json.Unmarshal([]byte(s.tags.String), &row.Tags); err != nil {
			return record.Row{}, fmt.Errorf("reading the tags of %s/%s: %w", s.table.Name, row.ID, err)
		}
	}
	return row, nil
}

// take puts the first of values under field and returns the others.
func take(into *map[string]string, field string, values []sql.NullString) []sql.NullString {
	if values[0].Valid {
		if *into == nil {
			*into = map[string]string{}
		}
		(*into)[field] = values[0].String
	}
	return values[1:]
}
