package catalog

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// Plaintexts counts the rows that hold a secret in clear which is to be sealed, and those that cannot be read and so may.
func (c *Catalog) Plaintexts(ctx context.Context) (rows int, err error) {
	rows, unread, err := plaintexts(ctx, c.store, c.schema, func(table string) bool { return c.cipher.Stale(table, "") })
	return rows + unread, err
}

// Plaintexts counts the rows that hold a secret in clear, in those tables that pick names.
func Plaintexts(ctx context.Context, store Store, s *schema.Schema, pick func(table string) bool) (rows int, err error) {
	rows, _, err = plaintexts(ctx, store, s, pick)
	return rows, err
}

// plaintexts has the database count what rests in columns, and reads bodies.
func plaintexts(ctx context.Context, store Store, s *schema.Schema, pick func(table string) bool) (rows, unread int, err error) {
	counts, err := store.CountSealed(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, count := range counts {
		if e, ok := s.Entity(count.Table); ok && count.Key == "" && pick(count.Table) && !e.SecretsInBody() {
			rows += count.Rows
		}
	}
	for _, e := range s.Entities() {
		if !e.SecretsInBody() || !pick(e.Table) {
			continue
		}
		found, not, err := plaintextsIn(ctx, store, s, e)
		if err != nil {
			return 0, 0, err
		}
		rows, unread = rows+found, unread+not
	}
	return rows, unread, nil
}

func plaintextsIn(ctx context.Context, store Store, s *schema.Schema, e *schema.Entity) (count, unread int, err error) {
	const page = 1000
	query := record.Query{Table: e.Table, AnyWorkspace: true, Limit: page}
	for {
		rows, err := store.List(ctx, query)
		if err != nil {
			return 0, 0, err
		}
		for _, row := range rows {
			clear, err := holdsPlaintext(s, e, row)
			switch {
			case clear:
				count++
			case err != nil:
				unread++
			}
		}
		if len(rows) < page {
			return count, unread, nil
		}
		query.After = rows[page-1].ID
	}
}

// holdsPlaintext fails where a row cannot be read.
func holdsPlaintext(s *schema.Schema, e *schema.Entity, row record.Row) (clear bool, err error) {
	for _, text := range row.Sealed {
		clear = clear || !record.IsSealed(text)
	}
	m, err := s.DecodeStored(e, row.Body)
	if err != nil {
		return clear, err
	}
	err = s.Secrets(e, m, func(_, text string) (string, error) {
		clear = clear || !record.IsSealed(text)
		return text, nil
	})
	return clear, err
}
