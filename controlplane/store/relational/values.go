package relational

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// change runs one statement as a write of its own. Where it must change exactly one row and does not, the
// error is unless.
func (s *Store) change(ctx context.Context, method, subject string, unless error, statement string, arguments ...any) error {
	if err := s.clean(method, subject, texts(arguments)...); err != nil {
		return err
	}
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return s.fault(ctx, method, subject, err)
	}
	defer tx.end(ctx)
	changed, err := tx.exec(ctx, statement, arguments...)
	if err != nil {
		return s.fault(ctx, method, subject, err)
	}
	if unless != nil && changed != 1 {
		return unless
	}
	return s.fault(ctx, method, subject, tx.commit(ctx))
}

func texts(arguments []any) []string {
	var list []string
	for _, argument := range arguments {
		if text, ok := argument.(string); ok {
			list = append(list, text)
		}
	}
	return list
}

// Meta reads one named value.
func (s *Store) Meta(ctx context.Context, name string) (value string, found bool, err error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	err = s.row(ctx, "SELECT value FROM "+s.dialect.table("meta")+" WHERE name = ?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, s.fault(ctx, "Meta", "meta/"+name, err)
}

// SwapMeta writes a named value over old, or where there is none.
func (s *Store) SwapMeta(ctx context.Context, name string, old *string, value string) error {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	meta, subject := s.dialect.table("meta"), "meta/"+name
	conflict := fault.Newf(fault.Conflict, s.dialect.Name+".SwapMeta", subject, "another value is stored")
	if old == nil {
		return s.change(ctx, "SwapMeta", subject, conflict,
			"INSERT INTO "+meta+" (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", name, value)
	}
	return s.change(ctx, "SwapMeta", subject, conflict,
		"UPDATE "+meta+" SET value = ? WHERE name = ? AND value = ?", value, name, *old)
}

// PutNode writes a data-plane row over whatever is stored.
func (s *Store) PutNode(ctx context.Context, node record.Node) error {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	return s.change(ctx, "PutNode", "data_planes/"+node.ID, nil, "INSERT INTO "+s.dialect.table("data_planes")+
		" (id, organisation, environment, seen, body) VALUES (?, ?, ?, ?, ?)"+
		" ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation,"+
		" environment = excluded.environment, seen = excluded.seen, body = excluded.body",
		node.ID, node.Organisation, node.Environment, node.Seen, string(node.Body))
}

// Nodes reads all data-plane rows.
func (s *Store) Nodes(ctx context.Context) ([]record.Node, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	result, err := s.query(ctx, "SELECT id, organisation, environment, seen, body FROM "+
		s.dialect.table("data_planes")+" ORDER BY id")
	if err != nil {
		return nil, s.fault(ctx, "Nodes", "", err)
	}
	defer result.Close()
	var nodes []record.Node
	for result.Next() {
		var n record.Node
		if err := result.Scan(&n.ID, &n.Organisation, &n.Environment, &n.Seen, &n.Body); err != nil {
			return nil, s.fault(ctx, "Nodes", "", err)
		}
		nodes = append(nodes, n)
	}
	return nodes, s.fault(ctx, "Nodes", "", result.Err())
}

// ForgetNodes deletes the rows of data planes last seen before a time.
func (s *Store) ForgetNodes(ctx context.Context, before int64) error {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	return s.change(ctx, "ForgetNodes", "", nil, "DELETE FROM "+s.dialect.table("data_planes")+" WHERE seen < ?", before)
}

// Raw reads one row of any table as it is stored.
func (s *Store) Raw(ctx context.Context, table, id string) (columns, values []string, err error) {
	if s.layout.Table(table) == nil && table != "keyring_keys" && table != "data_planes" {
		names := []string{"data_planes", "keyring_keys"}
		for _, t := range s.layout.Tables() {
			names = append(names, t.Name)
		}
		slices.Sort(names)
		return nil, nil, s.invalid("Raw", "", "there is no table of that name with rows by id; there are: %s", strings.Join(names, ", "))
	}
	ctx, cancel := s.brief(ctx)
	defer cancel()
	subject := table + "/" + id
	if err := s.clean("Raw", subject, id); err != nil {
		return nil, nil, err
	}
	result, err := s.query(ctx, "SELECT * FROM "+s.dialect.table(table)+" WHERE id = ?", id)
	if err != nil {
		return nil, nil, s.fault(ctx, "Raw", subject, err)
	}
	defer result.Close()
	if columns, err = result.Columns(); err != nil {
		return nil, nil, s.fault(ctx, "Raw", subject, err)
	}
	if !result.Next() {
		if err := result.Err(); err != nil {
			return nil, nil, s.fault(ctx, "Raw", subject, err)
		}
		return nil, nil, fault.New(fault.NotFound, s.dialect.Name+".Raw", subject, nil)
	}
	stored := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range stored {
		into[i] = &stored[i]
	}
	if err := result.Scan(into...); err != nil {
		return nil, nil, s.fault(ctx, "Raw", subject, err)
	}
	for _, text := range stored {
		if !utf8.ValidString(text.String) { // a column of bytes
			text.String = `\x` + hex.EncodeToString([]byte(text.String))
		}
		values = append(values, text.String)
	}
	return columns, values, nil
}
