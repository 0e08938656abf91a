// Package sqlite keeps the control plane's records in one file: the store of a single node and of a first
// run.
//
// A write is acknowledged when it is on disk (WAL, synchronous=FULL). What is deleted is overwritten with
// zeros; its copy in the write-ahead log goes with the next checkpoint, at the latest when the store is
// closed. Only one control-plane process may have the file: several nodes need PostgreSQL. A process that
// only looks (Options.ReadOnly) may do so beside it.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/keepgate/keepgate/controlplane/store/migration"
	"github.com/keepgate/keepgate/controlplane/store/relational"
	"github.com/keepgate/keepgate/shared/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the database is.
type Config struct {
	Path     string // of the file; made with mode 0600 where it is missing, its folder with 0700
	ReadOnly bool   // only look, also while a control plane has the file; it must exist
	Timeout  time.Duration
}

const (
	defaultTimeout = 10 * time.Second // only a disk that hangs takes that long
	maxReaders     = 4
)

// Store is a record.Store in one file.
type Store struct {
	*relational.Store
	reader, writer *sql.DB
	lock           *os.File // nil when read-only
	timeout        time.Duration
}

// Open opens the file and refuses one that another control plane has (fault.Conflict) or a newer program
// has migrated (*record.VersionError). Whether it is migrated at all, Status says: nothing but Migrate
// works before.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	s := &Store{timeout: config.Timeout}
	if err := s.open(ctx, config); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, config Config) error {
	if err := s.prepare(config); err != nil {
		return err
	}
	var err error
	if s.reader, err = connect(config, true, maxReaders); err != nil {
		return err
	}
	if s.writer, err = connect(config, config.ReadOnly, 1); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fault.New(fault.Internal, "sqlite.Open", "", err)
	}
	s.Store = relational.New(relational.Options{
		Dialect: dialect(), Reader: s.reader, Writer: s.writer, Timeout: config.Timeout,
		Migrations: migration.Source{Files: files, Dialect: goose.DialectSQLite3},
	})
	return s.Check(ctx)
}

// prepare takes the lock and makes the file, closed to everybody else from its first byte on. SQLite gives
// its log and index files the same mode.
func (s *Store) prepare(config Config) error {
	if config.ReadOnly {
		if _, err := os.Stat(config.Path); err != nil {
			return fault.New(fault.NotFound, "sqlite.Open", "", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(config.Path), 0o700); err != nil {
		return fault.New(fault.Unavailable, "sqlite.Open", "", err)
	}
	var err error
	if s.lock, err = lock(config.Path + ".lock"); err != nil {
		return err
	}
	file, err := os.OpenFile(config.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = errors.Join(file.Close(), syncFolder(filepath.Dir(config.Path)))
	case errors.Is(err, fs.ErrExist):
		err = os.Chmod(config.Path, 0o600)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "sqlite.Open", "", fmt.Errorf("making the database file: %w", err))
	}
	return nil
}

// syncFolder makes a new file's name survive a power loss; SQLite syncs what is in the file.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func connect(config Config, readOnly bool, connections int) (*sql.DB, error) {
	pragmas := []string{
		fmt.Sprintf("busy_timeout(%d)", config.Timeout.Milliseconds()),
		"foreign_keys(1)", "trusted_schema(0)", "cell_size_check(1)",
	}
	if readOnly {
		pragmas = append(pragmas, "query_only(1)")
	} else {
		pragmas = append(pragmas, "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)")
	}
	path, err := filepath.Abs(config.Path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "sqlite.Open", "", err)
	}
	address := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	db, err := sql.Open("sqlite", address.String())
	if err != nil {
		return nil, fault.New(fault.Internal, "sqlite.Open", "", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close ends all connections, which folds the log into the file, and then lets others have it.
func (s *Store) Close() error {
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, unlock(s.lock))
	}
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.Unavailable, "sqlite.Close", "", err)
	}
	return nil
}
