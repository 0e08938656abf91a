// Package relational keeps rows, history, keys and nodes in a SQL database: all that the engines of
// controlplane/store have in common, which is everything but the words in [Dialect].
//
// A write is one transaction: the rows it touches are locked in the order of table and id and their
// generations compared, rows are deleted and then written, foreign keys of many are checked, and only then the one
// row of table revision is locked and raised. So revisions follow the order of commits, nobody who reads
// the history in order misses one, and a large write holds up a small one no longer than its commit takes.
//
// The package knows sealed text and never what it seals.
package relational

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/migration"
	"github.com/keepgate/keepgate/shared/fault"
)

// Store implements all of record.Store but Close, which the engine adds.
type Store struct {
	dialect    *Dialect
	layout     *layout.Layout
	migrations migration.Source
	timeout    time.Duration
	reader     *sql.DB
	writer     *sql.DB
	renew      func()
	seen       atomic.Uint64 // the newest revision that this store has written or read
}

// Options says what a Store works on. All fields but Renew are required.
type Options struct {
	Dialect    *Dialect
	Migrations migration.Source
	Reader     *sql.DB
	Writer     *sql.DB       // may be the same as Reader
	Timeout    time.Duration // of one read; writes have more, by their size
	Renew      func()        // closes idle connections, called when one of them turned out to be dead
}

// New makes a Store and asks the database nothing.
func New(options Options) *Store {
	return &Store{
		dialect: options.Dialect, layout: layout.Derive(), migrations: options.Migrations,
		timeout: options.Timeout, reader: options.Reader, writer: options.Writer, renew: options.Renew,
	}
}

var (
	errUnmigrated = errors.New("the database is not migrated; run: keepgate-cp migrate up")
	errTimeout    = errors.New("the database did not answer in time")
)

// brief bounds one read, or one write of a few rows.
func (s *Store) brief(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.timeout, errTimeout)
}

// fault turns any error into one that may cross the border. The driver's own text is kept: it names
// columns and constraints, never values.
func (s *Store) fault(ctx context.Context, method, subject string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	op := s.dialect.Name + "." + method
	if ctx.Err() != nil {
		return fault.Newf(fault.Unavailable, op, subject, "%w (%w)", context.Cause(ctx), ctx.Err())
	}
	cause := s.dialect.Explain(err)
	if cause.Advice != "" {
		err = fmt.Errorf("%w; %s", err, cause.Advice)
	}
	switch cause.Kind {
	case Collision, Unreachable:
		return fault.New(fault.Unavailable, op, subject, err)
	case Unmigrated:
		return fault.New(fault.Unavailable, op, subject, errUnmigrated)
	case Refused:
		return fault.New(fault.Invalid, op, subject, err)
	case Denied:
		return fault.New(fault.Denied, op, subject, err)
	case Damaged:
		return fault.New(fault.Corrupt, op, subject, err)
	case Unique, Reference:
		return fault.New(fault.Conflict, op, subject, err)
	}
	return fault.New(fault.Internal, op, subject, err)
}

// Seen is the newest revision that this store has written or read.
func (s *Store) Seen() uint64 { return s.seen.Load() }

func (s *Store) see(revision uint64) {
	for {
		seen := s.seen.Load()
		if revision <= seen || s.seen.CompareAndSwap(seen, revision) {
			return
		}
	}
}

// Status says how far the database is migrated.
func (s *Store) Status(ctx context.Context) (record.Schema, error) {
	ctx, cancel := s.brief(ctx)
	defer cancel()
	var stored sql.NullInt64
	err := s.row(ctx, "SELECT max(version_id) FROM "+s.dialect.table(migration.Table)+" WHERE is_applied").Scan(&stored)
	if err != nil && s.dialect.Explain(err).Kind != Unmigrated {
		return record.Schema{}, s.fault(ctx, "Status", "", err)
	}
	schema, err := s.migrations.Read(stored.Int64)
	return schema, s.fault(ctx, "Status", "", err)
}

// Check refuses a database that a newer program has migrated.
func (s *Store) Check(ctx context.Context) error {
	schema, err := s.Status(ctx)
	if err != nil {
		return err
	}
	if schema.Stored > schema.Known {
		return fault.New(fault.Denied, s.dialect.Name+".Check", "",
			&record.VersionError{Stored: schema.Stored, Known: schema.Known})
	}
	return nil
}

// Migrate brings the database to the newest version that this program knows.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.Check(ctx); err != nil {
		return err
	}
	return s.fault(ctx, "Migrate", "", s.migrations.Up(ctx, s.writer))
}
