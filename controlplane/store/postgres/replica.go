package postgres

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/relational"
)

// restAfterFailure is how long a standby that failed is left alone, so that lists do not all wait for it.
const restAfterFailure = 5 * time.Second

// replica is a standby that answers for lists while it holds what this node has seen.
type replica struct {
	store  *relational.Store
	pool   *pgxpool.Pool
	dialer *dial.Dialer
	db     *sql.DB

	rests   atomic.Int64 // until then, Unix nanoseconds
	problem atomic.Pointer[string]
	served  atomic.Uint64
}

// openReplica connects to nobody: a standby that is away must not stop a start.
func openReplica(ctx context.Context, config Config) (*replica, error) {
	config = config.withDefaults()
	pool, dialer, err := config.connect(ctx)
	if err != nil {
		return nil, err
	}
	r := &replica{pool: pool, dialer: dialer, db: stdlib.OpenDBFromPool(pool)}
	r.store = relational.New(relational.Options{
		Dialect: dialect(config.prefix()), Reader: r.db, Writer: r.db, Timeout: config.Timeout, Renew: pool.Reset,
	})
	return r, nil
}

// list answers for the rows, or is not ok: the standby is away, or behind, or one of another database.
func (r *replica) list(ctx context.Context, query record.Query, database string, seen uint64) (rows []record.Row, ok bool) {
	if time.Now().UnixNano() < r.rests.Load() {
		return nil, false
	}
	rows, ok, err := r.store.ListOf(ctx, query, database, seen)
	if err != nil {
		if ctx.Err() == nil {
			text := "pg_ro_host does not answer, pg_host does in its place: " + err.Error()
			r.problem.Store(&text)
			r.rests.Store(time.Now().Add(restAfterFailure).UnixNano())
		}
		return nil, false
	}
	r.problem.Store(nil)
	if ok {
		r.served.Add(1)
	}
	return rows, ok
}

func (r *replica) warnings() []string {
	if problem := r.problem.Load(); problem != nil {
		return append(r.dialer.Warnings(), *problem)
	}
	return r.dialer.Warnings()
}

func (r *replica) close() error {
	err := r.db.Close()
	r.pool.Close()
	return err
}

// List reads rows in the order of their ids: from the standby where query.MayLag and it holds what this store has seen, else as all
// other reads do.
func (s *Store) List(ctx context.Context, query record.Query) ([]record.Row, error) {
	if query.MayLag && s.replica != nil {
		if id := s.database(ctx); id != "" {
			if rows, ok := s.replica.list(ctx, query, id, s.Seen()); ok {
				return rows, nil
			}
		}
	}
	return s.Store.List(ctx, query)
}

// database is the id of the database at pg_host, "" while it has none. It never changes.
func (s *Store) database(ctx context.Context) string {
	if id := s.id.Load(); id != nil {
		return *id
	}
	id, found, err := s.Meta(ctx, record.MetaDatabase)
	if err != nil || !found {
		return ""
	}
	s.id.Store(&id)
	return id
}

// ListsOfReplica counts the lists that the standby has answered.
func (s *Store) ListsOfReplica() uint64 {
	if s.replica == nil {
		return 0
	}
	return s.replica.served.Load()
}

// Warnings are what is not as it should be with the connections to the database, for the status of the node.
func (s *Store) Warnings() []string {
	if s.replica == nil {
		return s.dialer.Warnings()
	}
	return append(s.dialer.Warnings(), s.replica.warnings()...)
}

// Close ends all connections.
func (s *Store) Close() error {
	err := s.db.Close()
	s.pool.Close()
	if s.replica != nil {
		err = errors.Join(err, s.replica.close())
	}
	return closed(err)
}
