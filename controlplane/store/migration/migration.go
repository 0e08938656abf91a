// Package migration brings a database to the version that this program knows, from the reviewed SQL files
// that each engine embeds.
//
// Files are named 0001_what.sql and numbered without gaps; they only go up, since a step back would lose
// what the newer program wrote: that is what a backup is for. Each runs in one transaction. The version
// table is goose's, and where an engine gives a locker, so is the lease that keeps two control-plane nodes
// from migrating at once.
package migration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Table is the name of the version table.
const Table = "schema_versions"

// Source is the migrations of one engine.
type Source struct {
	Files   fs.FS // *.sql in its root
	Dialect goose.Dialect
	Prefix  string      // put before the names of goose's own tables: "schema."
	Before  string      // statement that opens each migration's transaction, or ""
	Locker  lock.Locker // nil where nobody else can reach the database
}

type step struct {
	version int64
	name    string
	text    string
}

// Read compares what the database says with what the program knows. stored is the version that the caller
// has read from [Table], 0 where there is none.
func (s Source) Read(stored int64) (record.Schema, error) {
	steps, err := s.steps()
	if err != nil {
		return record.Schema{}, err
	}
	schema := record.Schema{Stored: stored}
	for _, step := range steps {
		schema.Known = step.version
		if step.version > stored {
			schema.Pending = append(schema.Pending, step.name)
		}
	}
	return schema, nil
}

// Up runs all that is pending.
func (s Source) Up(ctx context.Context, db *sql.DB) error {
	steps, err := s.steps()
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{
		goose.WithTableName(s.Prefix + Table), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)),
	}
	if s.Locker != nil {
		options = append(options, goose.WithLocker(s.Locker))
	}
	for _, step := range steps {
		options = append(options, goose.WithGoMigrations(goose.NewGoMigration(step.version, s.run(step), nil)))
	}
	provider, err := goose.NewProvider(s.Dialect, db, nil, options...)
	if err != nil {
		return fmt.Errorf("preparing migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

// run executes a file as it stands. goose's own parser would not let a statement come before it.
func (s Source) run(step step) *goose.GoFunc {
	return &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		if s.Before != "" {
			if _, err := tx.ExecContext(ctx, s.Before); err != nil {
				return fmt.Errorf("%s: %w", step.name, err)
			}
		}
		if _, err := tx.ExecContext(ctx, step.text); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		return nil
	}}
}

func (s Source) steps() ([]step, error) {
	names, err := fs.Glob(s.Files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("listing migrations: %w", err)
	}
	slices.Sort(names)
	var steps []step
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil || version != int64(i+1) {
			return nil, fmt.Errorf("the migration %s is number %d and not named so", name, i+1)
		}
		text, err := fs.ReadFile(s.Files, name)
		if err != nil {
			return nil, fmt.Errorf("reading a migration: %w", err)
		}
		steps = append(steps, step{version, strings.TrimSuffix(path.Base(name), ".sql"), string(text)})
	}
	if len(steps) == 0 {
		return nil, errors.New("this program holds no migrations")
	}
	return steps, nil
}
