// Package nodes knows which data planes may link: what was issued to each, and who was shut out.
//
// Every identity that this control plane has certified has a row, and so has every one that was revoked. The row's
// [Document] is sealed as one value and names its identity again, so that whoever writes the database can let nobody in
// and have nobody wiped.
//
//	certified by an edge authority   the certificate must be on record; once a newer one was used, it is refused
//	certified by another authority   needs no record; a revocation refuses all that were valid when it was spoken
//
// Registry keeps all documents in memory. It hears of changes by hints, and looks for them every two seconds anyhow. A
// document never goes back: one with a lower sequence than this process has seen is not taken, nor is a revoked row that
// vanished forgotten before the process ends. What no longer opens because a key is missing stays as it was known; what
// was changed or moved, and what never opened here, is refused.
//
// The package issues nothing and knows no tokens: controlplane/enrol.
package nodes

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/schema"
)

// Table holds one row for each identity.
const Table = "enrolments"

// lookEvery is how often history is read without a hint: what a revocation takes at most while NATS is away.
const lookEvery = 2 * time.Second

// Catalog is where documents rest; controlplane/catalog says what each method promises.
type Catalog interface {
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Row(ctx context.Context, ref record.Ref) (record.Row, error)
	Open(ctx context.Context, row record.Row) (proto.Message, error)
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	Upsert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Together(ctx context.Context, pieces ...catalog.Piece) ([]proto.Message, error)
}

// History is what was committed; controlplane/record says what each method promises.
type History interface {
	changefeed.History
	Head(ctx context.Context) (uint64, error)
}

// Journal is where a revocation is recorded before it is made.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Options tunes a Registry. The zero value looks every two seconds, orders nobody to wipe, and is silent.
type Options struct {
	Organisation string // of every certificate; needed to revoke

	Signer     enrolment.Signer // signs wipes; nil: revoked data planes are cut without an order
	Journal    Journal          // nil: nothing is recorded
	Refusal    func() error     // why nobody can be revoked here, as the settings are; nil: they can
	Committed  func()           // hints that something was committed
	PurgeDelay time.Duration    // how long a document stays after its last certificate has expired; default 14 days
	Look       time.Duration    // default lookEvery
	Log        *slog.Logger     // default: discard
}

// Registry is who may link. It is safe for concurrent use.
type Registry struct {
	catalog Catalog
	history History
	feed    *changefeed.Feed
	options Options
	asking  *rate.Limiter // of rows of those who are about to be refused

	mu     sync.Mutex
	nodes  map[string]*node  // guarded by mu; by Key
	byRow  map[string]string // guarded by mu; keys by the id of their row
	loaded bool              // guarded by mu
	seen   uint64            // guarded by mu; revision that the documents show
}

// New makes a Registry and starts nothing.
func New(c Catalog, history History, options Options) *Registry {
	if options.Look <= 0 {
		options.Look = lookEvery
	}
	if options.PurgeDelay <= 0 {
		options.PurgeDelay = 14 * 24 * time.Hour
	}
	if options.Committed == nil {
		options.Committed = func() {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Registry{
		catalog: c, history: history, options: options, feed: changefeed.New(history, changefeed.Options{Poll: options.Look}),
		asking: rate.NewLimiter(asksInSecond, asksAtOnce), nodes: map[string]*node{}, byRow: map[string]string{},
	}
}

// Wake hints that there may be something new. It never blocks.
func (r *Registry) Wake() { r.feed.Wake() }

// Key names a data plane as its row does.
func Key(environment, name string) string { return environment + "/" + name }
