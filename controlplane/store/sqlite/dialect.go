package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/keepgate/keepgate/controlplane/store/relational"
)

func dialect() *relational.Dialect {
	return &relational.Dialect{
		Name: "sqlite",
		// The one writer takes the lock at once: a transaction that reads first and then wants to write could
		// be refused in the middle.
		Begin:         func(time.Duration) string { return "BEGIN IMMEDIATE" },
		BeginSnapshot: "BEGIN",
		Now:           "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
		Position:      "instr",
		ReadTags:      "tags",
		Tags:          tags,
		HasTags:       hasTags,
		Explain:       explain,
	}
}

func tags(tags []string) any {
	if tags == nil {
		return nil
	}
	text, err := json.Marshal(tags)
	if err != nil { // strings cannot fail
		return nil
	}
	return string(text)
}

func hasTags(tags []string, one bool) (condition string, arguments []any) {
	each := make([]string, len(tags))
	for i, tag := range tags {
		each[i] = "EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.value = ?)"
		arguments = append(arguments, tag)
	}
	if one {
		return "(" + strings.Join(each, " OR ") + ")", arguments
	}
	return strings.Join(each, " AND "), arguments
}

// explain reads SQLite's result codes (sqlite.org/rescode.html). Only a missing table has none of its own.
func explain(err error) relational.Cause {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
			return relational.Cause{Kind: relational.Unreachable}
		}
		return relational.Cause{}
	}
	switch failure.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return relational.Cause{Kind: relational.Unique}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return relational.Cause{Kind: relational.Reference}
	}
	switch failure.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM:
		return relational.Cause{Kind: relational.Unreachable}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return relational.Cause{Kind: relational.Damaged}
	case sqlite3.SQLITE_TOOBIG:
		return relational.Cause{Kind: relational.Refused}
	case sqlite3.SQLITE_ERROR:
		if text := failure.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "no such column") ||
			strings.Contains(text, "has no column named") {
			return relational.Cause{Kind: relational.Unmigrated}
		}
	}
	return relational.Cause{}
}
