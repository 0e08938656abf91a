package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// staged is a database at some version.
type staged struct {
	record.Store
	schema   record.Schema
	migrated bool
}

func (s *staged) Status(context.Context) (record.Schema, error) { return s.schema, nil }

func (s *staged) Migrate(context.Context) error {
	s.migrated = true
	return nil
}

func TestMigratedAtStart(t *testing.T) {
	t.Parallel()
	pending := []string{"0002_second"}
	tests := map[string]struct {
		engine  string
		schema  record.Schema
		migrate bool
		advice  bool
	}{
		"an empty PostgreSQL":    {engine: "postgres", schema: record.Schema{Known: 2, Pending: pending}, migrate: true},
		"an older PostgreSQL":    {engine: "postgres", schema: record.Schema{Stored: 1, Known: 2, Pending: pending}, advice: true},
		"a current PostgreSQL":   {engine: "postgres", schema: record.Schema{Stored: 2, Known: 2}},
		"an older embedded file": {engine: "sqlite", schema: record.Schema{Stored: 1, Known: 2, Pending: pending}, migrate: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &staged{schema: test.schema}
			err := migrated(t.Context(), store, test.engine, slog.New(slog.DiscardHandler))
			if store.migrated != test.migrate || !test.advice && err != nil {
				t.Errorf("migrated = %v, and migrating ran: %v", err, store.migrated)
			}
			if test.advice && (fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "keepgate-cp migrate up") || !strings.Contains(err.Error(), "0002_second")) {
				t.Errorf("migrated = %v, want denied with what to run", err)
			}
		})
	}
}
