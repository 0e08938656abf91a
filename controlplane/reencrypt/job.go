// Package reencrypt runs the one re-encryption of a database: every secret that is stale, because it rests under
// an older key, or in clear, or sealed where it is to rest in clear, is written again as the control plane
// writes now.
//
// The job is one named value of the database (reencrypt_job), changed by compare-and-set. Any node starts,
// pauses, resumes, cancels and paces it; one node works, and another goes on from the saved place when that
// one's lease is gone. Rows are read in the order of their ids, so a place is a table and an id; what was done
// after the last save is looked at again and found to be fresh.
//
// A row that others wrote meanwhile is read again and tried again. One that does not open is counted by its key
// and named, and stops nothing. Where what writes a table changes on the way, its provider or that one's key, another
// pass begins. The end is a count by the database itself: rows by table and key, and so "0 rows under key X".
//
// The job takes no revision, keeps generations and updated_at, and reaches no data plane. What sealing is, is
// controlplane/catalog's and controlplane/encryption's to say.
package reencrypt

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
)

// Store is what the job asks of the database, see record.Store.
type Store interface {
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
	List(ctx context.Context, query record.Query) ([]record.Row, error)
	Reseal(ctx context.Context, table string, rows []record.Resealed) (conflicts []string, err error)
	CountSealed(ctx context.Context) ([]record.SealedCount, error)
	Keyring(ctx context.Context, ring string) (record.Keyring, error)
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// scrubber is a Store that can make its files forget what was overwritten.
type scrubber interface {
	Scrub(ctx context.Context) error
}

// Catalog opens and seals rows. *catalog.Catalog is one.
type Catalog interface {
	SecretTables() []catalog.SecretTable
	Reseal(ctx context.Context, table string, rows []record.Row) ([]record.Resealed, []catalog.Undecryptable, error)
	Plaintexts(ctx context.Context) (int, error)
}

// Cipher says how secrets are written now. *encryption.Cipher is one.
type Cipher interface {
	// Mark is record.MarkOf of what is written into a table now.
	Mark(table string) (string, error)
	// Rings names the rings in use, with what stands before a key's id in the marks of their values. Marks are those
	// of the providers that have no ring.
	Rings() map[string]string
	Marks() []string
	Enabled() bool
	Migrating() bool
	Decrypting() bool
	EndMigration(ctx context.Context) error
	EndDecryption(ctx context.Context) error
	Refresh(ctx context.Context) error
}

// Journal notes who decided what before it happens: no entry, no act.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Options tunes a Job. The zero value is that of a node alone.
type Options struct {
	Log     *slog.Logger
	Journal Journal // default: none
	// Live lists the nodes that live. Default: this one alone.
	Live func(ctx context.Context) ([]string, error)
	// Agreed fails while a node that lives writes secrets otherwise than a job would leave them: it could not
	// read them then. Default: all agree.
	Agreed func(ctx context.Context, to string) error
	// Idle says how long nobody has waited for this process, 0 while somebody does: the job makes itself small
	// beside others. Default: for ever.
	Idle func() time.Duration
	// Done is told when a job that this node worked on is done. Default: nobody is.
	Done func()

	Batch int           // rows read and written at once; default 1000
	Save  time.Duration // how often the place is saved; default 1 s
	Poll  time.Duration // how often a node looks whether there is work; default 2 s
	// HandOver is how long a node that cannot go on, as its KMS plugin is dead, keeps the job from others. Default 20 s.
	HandOver time.Duration
}

// Job is this node's part in the re-encryption. It is safe for concurrent use.
type Job struct {
	store   Store
	catalog Catalog
	cipher  Cipher
	node    string
	options Options
	wake    chan struct{}             // holds one hint: the job changed here
	nudge   chan struct{}             // the same, for the one that works
	left    atomic.Pointer[time.Time] // when this node left the job to others
}

// New makes the part of the node with this id, and starts nothing.
func New(store Store, catalog Catalog, cipher Cipher, node string, options Options) *Job {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Done == nil {
		options.Done = func() {}
	}
	if options.Batch < 1 {
		options.Batch = 1000
	}
	if options.Save <= 0 {
		options.Save = time.Second
	}
	if options.HandOver <= 0 {
		options.HandOver = 20 * time.Second
	}
	if options.Poll <= 0 {
		options.Poll = 2 * time.Second
	}
	return &Job{
		store: store, catalog: catalog, cipher: cipher, node: node, options: options,
		wake: make(chan struct{}, 1), nudge: make(chan struct{}, 1),
	}
}

// hint tells this node's own loop and worker that the job changed.
func (j *Job) hint() {
	for _, c := range []chan struct{}{j.wake, j.nudge} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
