package catalog

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// Plaintexts counts the rows that hold a secret in clear which is to be sealed.
func (c *Catalog) Plaintexts(ctx context.Context) (rows int, err error) {
	return Plaintexts(ctx, c.store, c.schema, func(table string) bool { return c.cipher.Stale(table, "") })
}

// Plaintexts counts the rows that hold a secret in clear, in those tables that pick names. The database counts what
// rests in columns; bodies are read.
func Plaintexts(ctx context.Context, store Store, s *schema.Schema, pick func(table string) bool) (rows int, err error) {
	counts, err := store.CountSealed(ctx)
	if err != nil {
		return 0, err
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
		found, err := plaintextsIn(ctx, store, s, e)
		if err != nil {
			return 0, err
		}
		rows += found
	}
	return rows, nil
}

func plaintextsIn(ctx context.Context, store Store, s *schema.Schema, e *schema.Entity) (count int, err error) {
	const page = 1000
	query := record.Query{Table: e.Table, AnyWorkspace: true, Limit: page}
	for {
		rows, err := store.List(ctx, query)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if holdsPlaintext(s, e, row) {
				count++
			}
		}
		if len(rows) < page {
			return count, nil
		}
		query.After = rows[page-1].ID
	}
}

// holdsPlaintext counts a row that cannot be read for one that does.
func holdsPlaintext(s *schema.Schema, e *schema.Entity, row record.Row) (clear bool) {
	for _, text := range row.Sealed {
		clear = clear || !record.IsSealed(text)
	}
	m, err := s.DecodeStored(e, row.Body)
	if err != nil {
		return true
	}
	err = s.Secrets(e, m, func(_, text string) (string, error) {
		clear = clear || !record.IsSealed(text)
		return text, nil
	})
	return err != nil || clear
}
