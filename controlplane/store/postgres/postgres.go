// Package postgres keeps the control plane's records in PostgreSQL: the store for production, shared by any
// number of control-plane nodes.
//
// Its statements work through a transaction pooler: nothing is prepared for later, no session keeps a
// setting, a lock or a subscription beyond its transaction. Table names carry the schema, so no search_path
// is needed. Connections are made when needed and made again when they break; package dial makes them.
package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/keepgate/keepgate/controlplane/store/migration"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/relational"
	"github.com/keepgate/keepgate/shared/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says where the database is and how to reach it.
type Config struct {
	Server   dial.Options // Timeout is this Config's
	User     string
	Database string
	Schema   string        // default: what the server's search_path says. Made by Migrate where it is missing
	Timeout  time.Duration // to connect, and for one read; default 5 s. Writes have more, by their size
	PoolSize int           // connections at most; default 10
	Idle     time.Duration // how long a connection that nothing uses stays; default 1 min
	Replica  *Config       // a standby for lists; nil: there is none
}

const (
	defaultTimeout  = 5 * time.Second
	defaultPoolSize = 10
	defaultIdle     = time.Minute
	defaultPort     = 5432
)

// Store is a record.Store in a PostgreSQL schema.
type Store struct {
	*relational.Store
	pool    *pgxpool.Pool
	dialer  *dial.Dialer
	db      *sql.DB
	schema  string
	replica *replica               // nil: there is none
	id      atomic.Pointer[string] // of the database, once it is known; only for the replica
}

// schemaName is what can stand in a statement without quotes.
var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Open connects once, so that a wrong address or password shows now: fault.Unavailable when the server does
// not answer, fault.Denied when it refuses us or a newer program has migrated the database
// (*record.VersionError). Whether it is migrated at all, Status says: nothing but Migrate works before.
func Open(ctx context.Context, config Config) (*Store, error) {
	if config.Schema != "" && !schemaName.MatchString(config.Schema) {
		return nil, fault.Newf(fault.Invalid, "postgres.Open", "", "the schema's name must be of lower-case letters, digits and _")
	}
	config = config.withDefaults()
	pool, dialer, err := config.connect(ctx)
	if err != nil {
		return nil, fault.New(fault.Invalid, "postgres.Open", "", err)
	}
	s := &Store{pool: pool, dialer: dialer, db: stdlib.OpenDBFromPool(pool), schema: config.Schema}
	if s.Store, err = s.relational(config); err == nil {
		err = s.Check(ctx)
	}
	if err == nil && config.Replica != nil {
		if s.replica, err = openReplica(ctx, *config.Replica); err != nil {
			err = fault.New(fault.Invalid, "postgres.Open", "pg_ro_host", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) relational(config Config) (*relational.Store, error) {
	source, err := s.source()
	if err != nil {
		return nil, fault.New(fault.Internal, "postgres.Open", "", err)
	}
	return relational.New(relational.Options{
		Dialect: dialect(config.prefix()), Migrations: source, Reader: s.db, Writer: s.db, Timeout: config.Timeout, Renew: s.pool.Reset,
	}), nil
}

// source is the migrations, with a lease in a table against two nodes that migrate at once: an advisory
// lock would stay with the pooler's connection.
func (s *Store) source() (migration.Source, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return migration.Source{}, err
	}
	source := migration.Source{Files: files, Dialect: goose.DialectPostgres}
	if s.schema != "" {
		source.Prefix = s.schema + "."
		source.Before = "SET LOCAL search_path TO " + s.schema
	}
	source.Locker, err = lock.NewPostgresTableLocker(
		lock.WithTableName(source.Prefix+"schema_lock"), lock.WithTableLockTimeout(time.Second, 120))
	return source, err
}

// Migrate makes the schema where it is missing and brings it to the newest version that this program knows.
func (s *Store) Migrate(ctx context.Context) error {
	if s.schema != "" {
		// Asked first, since without the right to make one IF NOT EXISTS fails even where it exists.
		var exists bool
		err := s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", s.schema).Scan(&exists)
		if err == nil && !exists {
			_, err = s.db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+s.schema)
		}
		if err != nil {
			return fault.New(kindOf(err), "postgres.Migrate", "", err)
		}
	}
	return s.Store.Migrate(ctx)
}

func closed(err error) error {
	if err != nil {
		return fault.New(fault.Unavailable, "postgres.Close", "", err)
	}
	return nil
}
