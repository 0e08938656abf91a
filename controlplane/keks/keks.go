// Package keks keeps the named key-encryption keys (KEKs) of Kubernetes clusters, and wraps and unwraps with them.
//
// A KEK is one row, and all of it but its name one document that the keyring seals (document.go): its generations,
// each with 32 random bytes, of which the newest is active. Every change is a compare-and-set on that row, so that nodes
// that rotate at once agree. A generation is active, then former, then retired, and never goes back: a former one
// unwraps what it wrapped, of a retired one a tombstone is left without material.
//
// A key_id is "<name>.<generation>.<16 hex digits of a MAC under the material>": public, stable, and never used again,
// also not by a database that was restored and made another key of the same number.
//
// Each node holds the opened rows in memory, looks every second whether the database has gone on, and reads before it
// says that it does not know a key. A node that remembers more than a restored database writes it back (merge.go).
// Nothing is wrapped by a node that has not read for a while, nor under a key that was replaced more than [WrapGrace] ago
// ([Keks.Wrap]): what was rewritten after [SafeAfter] is under the newer key, whatever hangs.
//
// Wraps and unwraps are in the journal before they are answered, those of one caller that wait at the same time as one
// entry (journal.go). A trial ("canary") is not, unless the last entry could not be written, and so what a trial wraps
// opens in trials alone.
//
// Who may use which KEK is decided by the caller of this package: controlplane/kmsservice, by the certificate.
package keks

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	table     = "keks"
	fieldName = "name"
	fieldDoc  = "document"
)

const (
	// WrapGrace is how long a key that was replaced still wraps: for API servers that were told of it just before.
	WrapGrace = 3 * time.Minute
	// SafeAfter is when, after a rotation, stored objects may be rewritten: an API server takes a key_id for three
	// minutes, a plugin notices the rotation within ten seconds, and five minutes are slack.
	SafeAfter = 3*time.Minute + 10*time.Second + 5*time.Minute
	// OldAfter is the age at which a key ought to be replaced, as Kubernetes' documentation advises.
	OldAfter = 90 * 24 * time.Hour
	// MinRotateEvery and MaxRotateEvery bound how often a key is replaced by itself.
	MinRotateEvery = 24 * time.Hour
	MaxRotateEvery = 10 * 365 * 24 * time.Hour
)

// Catalog is where the rows are; *catalog.Catalog says what each method promises.
type Catalog interface {
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Change(ctx context.Context, at catalog.Address, edit func(present proto.Message) (schema.Document, error)) (proto.Message, error)
}

// Store says how far the database has gone on.
type Store interface {
	Head(ctx context.Context) (uint64, error)
}

// Journal is where changes and uses are recorded before they happen; controlplane/audit says what each method promises.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
	Refused(ctx context.Context, action, subject string, detail ...string)
}

// Options tunes Keks. The zero value is right for production but for Sealing.
type Options struct {
	// Sealing says why a key may not be made now: nothing would seal it. nil: something does.
	Sealing func() error
	// Unrecorded leaves wraps and unwraps out of the journal (kms_audit = off).
	Unrecorded bool
	Committed  func()        // tells others that the database has gone on; default: nobody
	Poll       time.Duration // how often the database is looked at; default 1 s
	Log        *slog.Logger  // default: discard
}

// Keks is the KEKs as one node knows them. It is safe for concurrent use.
type Keks struct {
	catalog Catalog
	store   Store
	options Options
	journal Journal
	uses    *uses
	metrics *metrics

	view     atomic.Pointer[view]
	hints    chan struct{}
	reading  chan struct{}        // holds a token while nobody reads
	lastRead time.Time            // when the rows were last read; guarded by the token
	failed   tried                // the last reading, where it failed; guarded by the token
	warned   map[string]time.Time // touched by Run alone
}

// New makes Keks and reads nothing; [Keks.Run] does, and whoever asks for what is not known.
func New(rows Catalog, store Store, journal Journal, options Options) *Keks {
	if options.Sealing == nil {
		options.Sealing = func() error { return nil }
	}
	if options.Committed == nil {
		options.Committed = func() {}
	}
	if options.Poll <= 0 {
		options.Poll = time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keks{
		catalog: rows, store: store, options: options, journal: journal, uses: newUses(journal), metrics: newMetrics(),
		hints: make(chan struct{}, 1), reading: make(chan struct{}, 1), warned: map[string]time.Time{},
	}
	k.reading <- struct{}{}
	k.view.Store(&view{})
	return k
}
