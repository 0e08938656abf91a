// Package record is what the control plane's database holds, in the words that every engine shares: rows
// with names in clear and secrets sealed, revisions of them, key rows and data-plane rows.
//
// The package holds no behaviour but its own checks. Who reads and writes rows is controlplane/catalog;
// who keeps them is controlplane/store/sqlite and controlplane/store/postgres, and [Store] is the contract
// that both are tested against. Consumers declare the part of it that they use.
//
// Keys of the maps in [Row] and [Query] are field names of the schema ("service", "key"), never column
// names ("service_id", "key_fingerprint"): controlplane/store/layout alone knows columns.
package record

import "time"

// Row is one entity at rest.
type Row struct {
	Table     string
	Workspace string // id of the workspace; "" for tables that belong to none
	ID        string // unique in its table over all workspaces

	// Generation rises with every write of the row, and a row that is deleted and inserted again never
	// falls back to an earlier one. The store assigns it; in a [Change] it is ignored.
	Generation uint64

	Unique  map[string]string // by field; encrypted fields by their fingerprint. Absent is null
	Foreign map[string]string // id of the row referred to, by field. Absent is null
	Sealed  map[string]string // sealed text of top-level encrypted fields. Absent is null
	Tags    []string          // nil is null, empty is empty
	Body    []byte            // JSON text of all the rest, nested secrets sealed in place
}

// Change writes or deletes one row.
type Change struct {
	Row    Row
	Delete bool // only Table, Workspace and ID of Row count then

	// Expect is the generation that must be stored now; 0 says that the row must be absent. Another one
	// stored, or none, is fault.Conflict with subject "table/id"; a taken id is an [ExistsError].
	Expect uint64
}

// Batch is a set of changes that show together or not at all. A row occurs in it once. The order of the
// changes does not matter: a row may take the unique value that another one gives up, and may refer to
// one that is inserted beside it.
type Batch struct {
	Changes []Change
	Silent  bool // the same values sealed anew: takes no revision and reaches no data plane
}

// Ref names a row that a revision wrote or deleted.
type Ref struct {
	Table, Workspace, ID string
	Deleted              bool
}

// Revision is one committed batch. Numbers count from 1 without gaps, in the order of commits.
type Revision struct {
	Number uint64
	At     int64 // Unix seconds
	Refs   []Ref // sorted by table in dependency order, then id
}

// Query selects rows of one table, ordered by id.
type Query struct {
	Table        string
	Workspace    string
	AnyWorkspace bool   // over all workspaces; Workspace is ignored
	After        string // only ids greater than this one
	Limit        int    // at most this many; 0 means all

	// MayLag says that rows may be as they were a moment ago, though not before what this store has written or seen: a standby may answer.
	MayLag bool
	// Secrets says that only what may be sealed is wanted: rows whose secrets are all in Sealed come without Unique, Foreign, Tags and
	// Body.
	Secrets bool

	Unique  map[string]string // equal to, by field
	Foreign map[string]string // refers to this id, by field
	Tags    []string          // has all of these tags
	AnyTag  bool              // has one of Tags instead of all
}

// Node is one data plane, as the fleet last saw it.
type Node struct {
	ID           string
	Organisation string
	Environment  string
	Seen         int64  // Unix seconds
	Body         []byte // JSON text of all the rest
}

// Schema says how far a database is migrated, and how far this program can migrate it.
type Schema struct {
	Stored  int64    // version of the database; 0: empty, a first start
	Known   int64    // newest version this program knows
	Pending []string // names of the migrations between both, oldest first
}

// First reports that the database holds nothing yet, so that migrating it puts nobody's data at risk.
func (s Schema) First() bool { return s.Stored == 0 }

// Current reports that nothing is pending.
func (s Schema) Current() bool { return len(s.Pending) == 0 }

// FirstGeneration is the generation of a row inserted now. It comes from the clock and not from 1, so that
// a compare-and-set by somebody who read the row's earlier life fails: ids of declarative entities are
// derived from names and do come back.
func FirstGeneration() uint64 { return uint64(time.Now().UnixMicro()) }
