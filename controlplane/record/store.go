package record

import (
	"context"
	"iter"
	"time"
)

// Store is the whole contract of a database, which controlplane/store/storetest checks for every engine.
// Consumers declare the methods they need; this one names them all in one place.
//
// Besides what the methods say: a database that cannot be reached, or does not answer in time, is
// fault.Unavailable; a database that is not migrated is fault.Unavailable and says so; damaged storage is
// fault.Corrupt; text that is no UTF-8 or holds a NUL, an unknown table or field are fault.Invalid.
type Store interface {
	// Get reads one row; fault.NotFound when the workspace has none of that id.
	Get(ctx context.Context, table, workspace, id string) (Row, error)

	// ByUnique reads the row whose field, unique by itself, has a value. The workspace does not matter for
	// a field that is unique across all of them.
	ByUnique(ctx context.Context, table, workspace, field, value string) (Row, error)

	// List reads rows in the order of their ids, compared bytewise.
	List(ctx context.Context, query Query) ([]Row, error)

	// Apply commits a batch in one transaction and returns its revision; a Silent or empty batch takes
	// none and returns 0. A refused batch changes nothing and is a [UniqueError], [ReferenceError],
	// [ExistsError] or fault.Conflict (see [Change]; with subject "key/<id>" when a value is sealed under a
	// key whose row says that it is not [KeyUsable]: seal anew). fault.Unavailable leaves open whether the batch was
	// committed, where the connection broke during the commit and could not be made again: read before
	// trying again.
	Apply(ctx context.Context, batch Batch) (revision uint64, err error)

	// Snapshot lends one consistent read of all rows of all tables, parents before children, with the
	// revision that they show. The rows can be read once, inside read.
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[Row, error]) error) error

	// History returns the revisions that follow after, oldest first, at most limit. It never leaves one
	// out: [ErrTrimmed] when the next one is no longer kept, [ErrRewound] when the database has not yet
	// given out the revision after, as one restored from an older backup.
	History(ctx context.Context, after uint64, limit int) ([]Revision, error)

	// Head returns the newest revision, 0 before the first.
	Head(ctx context.Context) (uint64, error)

	// Trim forgets all revisions before keepFrom; rows stay.
	Trim(ctx context.Context, keepFrom uint64) error

	// Meta reads one named value.
	Meta(ctx context.Context, name string) (value string, found bool, err error)

	// SwapMeta writes a named value over old, or where there is none when old is nil; fault.Conflict with
	// subject "meta/<name>" when something else is stored.
	SwapMeta(ctx context.Context, name string, old *string, value string) error

	// Keyring reads the head of a ring and all its key rows in one consistent read. The database holds
	// several rings by name, and "" is one of them. A head is the named value "keyring_head", or
	// "keyring_head/<ring>" for the others.
	Keyring(ctx context.Context, ring string) (Keyring, error)

	// ChangeKeyring writes key rows, new ones and over what is stored, and the ring's next head in one
	// transaction, if the head is still old (nil: there is none); fault.Conflict with subject
	// "keyring/head" when it is not. Ids are unique over all rings: fault.Denied with subject "key/<id>" for
	// that of another ring's key, unless it has the same check value, and so was only moved there.
	ChangeKeyring(ctx context.Context, ring string, old *string, head string, keys []Key) error

	// CountSealed counts the rows that hold sealed values, by table and mark. A row that holds values under
	// two keys counts for both. Tables and keys without any are left out.
	CountSealed(ctx context.Context) ([]SealedCount, error)

	// Reseal writes rows of one table in one transaction. Rows of another generation, and rows that are
	// gone, are left alone and named in conflicts. It takes no revision and changes no generation. New values under
	// a key that is not [KeyUsable] are refused as by Apply.
	Reseal(ctx context.Context, table string, rows []Resealed) (conflicts []string, err error)

	// PutLease writes a node's lease over whatever is stored, dated by the database's clock.
	PutLease(ctx context.Context, node string, body []byte) error

	// Leases reads all leases by node.
	Leases(ctx context.Context) ([]Lease, error)

	// DropLeases deletes the lease of a node, and those older than an age. A node of "" names none, nor does
	// an age of 0 or less.
	DropLeases(ctx context.Context, node string, olderThan time.Duration) error

	// AppendAudit adds entries in one transaction; an [ExistsError] with table "audit" and id
	// "<node>/<sequence>" when the place of one is taken.
	AppendAudit(ctx context.Context, entries []AuditEntry) error

	// Audit reads entries of the journal.
	Audit(ctx context.Context, query AuditQuery) ([]AuditEntry, error)

	// AuditHeads reads the last entry of each node's chain, by node.
	AuditHeads(ctx context.Context) ([]AuditEntry, error)

	// PutNode writes a data-plane row over whatever is stored.
	PutNode(ctx context.Context, node Node) error

	// Nodes reads all data-plane rows by id.
	Nodes(ctx context.Context) ([]Node, error)

	// ForgetNodes deletes the rows of data planes last seen before a time (Unix seconds).
	ForgetNodes(ctx context.Context, before int64) error

	// Raw reads one row of any table as it is stored, for an auditor: column names and their text. A null
	// is an empty value.
	Raw(ctx context.Context, table, id string) (columns, values []string, err error)

	// Status says how far the database is migrated.
	Status(ctx context.Context) (Schema, error)

	// Migrate brings the database to the newest version this program knows; a [VersionError] when it is
	// beyond that already.
	Migrate(ctx context.Context) error

	Close() error
}
