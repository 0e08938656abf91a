package relational

import (
	"strconv"
	"strings"
	"time"
)

// Dialect is all that the engines differ in. Statements are written once, with "?" for parameters.
type Dialect struct {
	Name     string // opens the Op of every fault: "sqlite"
	Prefix   string // put before every table name: `"schema".`
	Numbered bool   // parameters are written $1, $2 and not ?

	// Begin returns the statement that begins a writing transaction; what it waits for ends by itself
	// after a time, so that a frozen process cannot hold the others up.
	Begin func(patience time.Duration) string
	// BeginSnapshot begins a transaction that reads one state of the database, however long it takes.
	BeginSnapshot string
	// LockRows ends a select whose rows must not change until the transaction ends, or is "". The first is
	// for rows that will only be rewritten: rows may go on to refer to them.
	LockRows, LockRowsToDelete string
	// LockShared ends a select of rows that many transactions may hold, but none may change until they end, or is "".
	LockShared string
	// CheckReferences is the statement that checks foreign keys before the commit does, or "". It keeps
	// the revision row from being held while many rows are checked.
	CheckReferences string

	Now string // expression: milliseconds since 1970 by the database's clock, which every transaction sees anew

	Position string // function that says where a text stands in another: 1 is its beginning, 0 nowhere

	ReadTags string                  // expression that gives tags as JSON text
	Tags     func(tags []string) any // argument for the column tags
	// HasTags returns a condition and its arguments: the column holds all of tags, or one of them.
	HasTags func(tags []string, one bool) (condition string, arguments []any)

	// Splits says that there are string_to_array and unnest, so that one parameter can hold a column of many
	// rows. Encoding and parsing arrays, which quotes every element, costs more than writing the rows.
	Splits bool

	// Explain says what an error of the driver means.
	Explain func(err error) Cause
}

// Cause is what an error of a driver means.
type Cause struct {
	Kind       CauseKind
	Constraint string // name of what was violated, where the engine says it
	Table      string // its table, where the engine says it
	Advice     string // what an operator can do about it, where that is known
}

// CauseKind is what can be done about an error of a driver.
type CauseKind uint8

const (
	Unforeseen  CauseKind = iota
	Unique                // a unique index or primary key refused
	Reference             // a foreign key refused
	Collision             // a deadlock or the like: the same transaction may pass when run again
	Unreachable           // the database does not answer, or not in time
	Unmigrated            // a table does not exist
	Refused               // the database will not have this value, ever
	Denied                // wrong password, missing rights
	Damaged
)

// text writes the parameters of a statement in the way of the engine.
func (d *Dialect) text(statement string) string {
	if !d.Numbered {
		return statement
	}
	var b strings.Builder
	b.Grow(len(statement) + len(statement)/8)
	number := 0
	for {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		number++
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(number))
		statement = after
	}
}

// table is the name of a table as it stands in a statement.
func (d *Dialect) table(name string) string { return d.Prefix + name }
