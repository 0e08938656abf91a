package catalog

import (
	"context"
	"iter"
	"log/slog"
	"runtime"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/schema"
)

// Store is what the catalog asks of the database, see record.Store. It never sees a plaintext.
type Store interface {
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
	ByUnique(ctx context.Context, table, workspace, field, value string) (record.Row, error)
	List(ctx context.Context, query record.Query) ([]record.Row, error)
	Apply(ctx context.Context, batch record.Batch) (revision uint64, err error)
	CountSealed(ctx context.Context) ([]record.SealedCount, error)
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[record.Row, error]) error) error
}

// Cipher seals values for their place and fingerprints them, see controlplane/encryption.
type Cipher interface {
	Seal(p aead.Place, plaintext string) (string, error)
	Open(p aead.Place, text string) (plaintext string, stale bool, err error)
	// Stale reports whether a stored text would be written otherwise now, by its form alone.
	Stale(table, text string) bool
	Fingerprint(table, field, value string) (string, error)
	Check(table, field, row, value string) (string, error)
	// Lost reports whether text is sealed under a key that is gone for good.
	Lost(text string) bool
	// Migrating reports whether plaintext of the time before the keyring may be read; EndMigration stops it.
	Migrating() bool
	EndMigration(ctx context.Context) error
}

// Options tunes a Catalog. The zero value is right for production.
type Options struct {
	Log    *slog.Logger // default: discard
	Hashes int          // passwords hashed at once, each takes 19 MiB; default: half of the processors, at least one

	OneEnvironment string // why there may be none but the default one; "" lets there be others
}

// Catalog reads and writes entities. It is safe for concurrent use.
type Catalog struct {
	store   Store
	schema  *schema.Schema
	cipher  Cipher
	options Options
	hashing chan struct{} // one slot for each password being hashed
}

// New makes a Catalog and touches nothing; [Catalog.Start] comes before its use.
func New(store Store, s *schema.Schema, cipher Cipher, options Options) *Catalog {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Hashes < 1 {
		options.Hashes = max(1, runtime.GOMAXPROCS(0)/2)
	}
	return &Catalog{store: store, schema: s, cipher: cipher, options: options, hashing: make(chan struct{}, options.Hashes)}
}

// Schema is what the catalog's entities are.
func (c *Catalog) Schema() *schema.Schema { return c.schema }

// Address says which entity, or where a new one goes.
type Address struct {
	Table     string
	Workspace string  // id, as [Catalog.Workspace] gives it; ignored for tables that belong to none
	Key       string  // id, or a value of the endpoint key; "" when inserting
	Parent    *Parent // the entity must be a child of this one; writes set the foreign key
}

// Parent is an entity by whose path a child is addressed: {"consumers", "bob"}.
type Parent struct {
	Table string
	Key   string // id or a value of the endpoint key
}

// Query selects a page of entities, ordered by id.
type Query struct {
	Table     string
	Workspace string
	Parent    *Parent
	After     string            // id of the last entity of the page before
	Size      int               // at most; 0 means all
	Tags      []string          // has all of these
	AnyTag    bool              // has one of Tags instead
	Refers    map[string]string // foreign keys that must hold these ids: {"consumer": "<id>"}
	MayLag    bool              // rows may be as they were a moment ago; never for what is to be changed
	Where     map[string]string // fields in clear that are unique and must equal: {"custom_id": "x"}
}

// Page is what a List found.
type Page struct {
	Entities      []proto.Message
	Undecryptable []Undecryptable // rows of the page that do not open
	Last          string          // id of the last row of the page, also when it does not open
	More          bool            // there are rows after Last
}

// Undecryptable is a row that does not open, and why: fault.Unavailable with the subject "key/<id>", or
// fault.Corrupt.
type Undecryptable struct {
	Table, ID string
	Err       error
}
