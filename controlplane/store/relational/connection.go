package relational

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// twice asks again when a connection that had been idle turned out to be dead, as all are after the
// database was started anew. It is for what changes nothing.
func twice[T any](ctx context.Context, s *Store, ask func() (T, error)) (T, error) {
	result, err := ask()
	if err == nil || s.renew == nil || ctx.Err() == nil && s.dialect.Explain(err).Kind != Unreachable {
		return result, err
	}
	if ctx.Err() != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			s.renew() // it was silent, and the other connections may end at the same silence
		}
		return result, err
	}
	s.renew()
	return ask()
}

// query reads outside of a transaction.
func (s *Store) query(ctx context.Context, statement string, arguments ...any) (*sql.Rows, error) {
	return twice(ctx, s, func() (*sql.Rows, error) {
		return s.reader.QueryContext(ctx, s.dialect.text(statement), arguments...)
	})
}

// row reads one row outside of a transaction.
func (s *Store) row(ctx context.Context, statement string, arguments ...any) oneRow {
	result, err := s.query(ctx, statement, arguments...)
	return oneRow{result, err}
}

// oneRow is what sql.Row is, for a query that was asked already.
type oneRow struct {
	rows *sql.Rows
	err  error
}

// Scan reads the row, or fails with sql.ErrNoRows when there is none.
func (r oneRow) Scan(into ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(into...); err != nil {
		return err
	}
	return r.rows.Close()
}

// transaction is one transaction on one connection. It is begun by a statement of ours and not by
// database/sql, whose Tx cannot be rolled back once a commit was refused.
type transaction struct {
	conn    *sql.Conn
	dialect *Dialect
	ended   bool
}

func (s *Store) begin(ctx context.Context, db *sql.DB, statement string) (*transaction, error) {
	return twice(ctx, s, func() (*transaction, error) { return s.beginOnce(ctx, db, statement) })
}

func (s *Store) beginOnce(ctx context.Context, db *sql.DB, statement string) (*transaction, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	tx := &transaction{conn: conn, dialect: s.dialect}
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		tx.end(ctx)
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	return tx, nil
}

func (t *transaction) exec(ctx context.Context, statement string, arguments ...any) (int64, error) {
	result, err := t.conn.ExecContext(ctx, t.dialect.text(statement), arguments...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t *transaction) query(ctx context.Context, statement string, arguments ...any) (*sql.Rows, error) {
	return t.conn.QueryContext(ctx, t.dialect.text(statement), arguments...)
}

func (t *transaction) commit(ctx context.Context) error {
	if _, err := t.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	t.ended = true
	return nil
}

// rollbackTimeout is short: a connection that does not answer by then is thrown away, and the server rolls
// back by itself.
const rollbackTimeout = 2 * time.Second

// end gives the connection back, rolled back unless the commit went through.
func (t *transaction) end(ctx context.Context) {
	if !t.ended {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		if _, err := t.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			// In which state the connection is nobody knows: the pool must not lend it again.
			_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	_ = t.conn.Close()
}
