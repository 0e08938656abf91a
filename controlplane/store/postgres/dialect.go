package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/relational"
	"github.com/keepgate/keepgate/shared/fault"
)

func dialect(prefix string) *relational.Dialect {
	return &relational.Dialect{
		Name: "postgres", Prefix: prefix, Numbered: true,
		Begin:            begin,
		BeginSnapshot:    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		LockRows:         " FOR NO KEY UPDATE",
		LockRowsToDelete: " FOR UPDATE",
		LockShared:       " FOR SHARE",
		CheckReferences:  "SET CONSTRAINTS ALL IMMEDIATE",
		Now:              "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
		Splits:           true,
		Position:         "strpos",
		ReadTags:         "array_to_json(tags)::text",
		Tags: func(tags []string) any {
			if tags == nil {
				return nil
			}
			return tags
		},
		HasTags: func(tags []string, one bool) (string, []any) {
			if one {
				return "tags && ?", []any{tags}
			}
			return "tags @> ?", []any{tags}
		},
		Explain: explain,
	}
}

// begin bounds what the server does for us even when we are gone: a node that freezes while it holds the
// revision row must not stop the others. The settings end with the transaction, so a pooler may lend the
// connection on. They are sent together with BEGIN, in one round trip.
func begin(patience time.Duration) string {
	return fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = %[1]d; "+
		"SET LOCAL statement_timeout = %[1]d; SET LOCAL idle_in_transaction_session_timeout = %[1]d", max(1, patience.Milliseconds()))
}

// explain reads SQLSTATE codes (PostgreSQL documentation, appendix A).
func explain(err error) relational.Cause {
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return relational.Cause{Kind: connectionKind(err), Advice: dial.Advice(err)}
	}
	return relational.Cause{
		Kind: kindOfState(refusal.Code), Constraint: refusal.ConstraintName, Table: refusal.TableName, Advice: dial.Advice(err),
	}
}

func kindOfState(code string) relational.CauseKind {
	switch code {
	case "23505":
		return relational.Unique
	case "23503":
		return relational.Reference
	case "40001", "40P01": // serialization failure, deadlock
		return relational.Collision
	case "42P01", "42703", "3F000": // undefined table, column, schema
		return relational.Unmigrated
	case "54000", "54001", "22001", "22021", "22P05": // too large, characters the database's encoding lacks
		return relational.Refused
	case "42501", "3D000": // missing rights, no such database
		return relational.Denied
	case "XX001", "XX002":
		return relational.Damaged
	case "55P03", "57014", "25P03", "25006": // waited too long; the server became a standby
		return relational.Unreachable
	}
	switch {
	case strings.HasPrefix(code, "28"): // wrong user or password
		return relational.Denied
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"):
		return relational.Unreachable // connection, resources, operator, system
	}
	return relational.Unforeseen
}

// connectionKind tells an error of the connection from one of ours.
func connectionKind(err error) relational.CauseKind {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || pgconn.SafeToRetry(err) || pgconn.Timeout(err) {
		return relational.Unreachable
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return relational.Unreachable
	}
	for _, lost := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn, sql.ErrConnDone, context.DeadlineExceeded,
	} {
		if errors.Is(err, lost) {
			return relational.Unreachable
		}
	}
	return relational.Unforeseen
}

// kindOf is for the few statements that do not run in the relational store.
func kindOf(err error) fault.Kind {
	switch explain(err).Kind {
	case relational.Unreachable, relational.Collision:
		return fault.Unavailable
	case relational.Denied:
		return fault.Denied
	}
	return fault.Internal
}
