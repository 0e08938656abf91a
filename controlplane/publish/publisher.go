// Package publish sends each data plane the configuration of its environment: version, delta, snapshot, and the
// stream server.
//
// A [Publisher] reads the database once and then follows the changefeed, so that a change costs what it changes:
// one row read and opened, one path of the environment's tree (shared/configset) renewed, one delta encoded
// once for all data planes. A version shows whole transactions only.
//
// Data planes get the least secret that does their job: keys of key-auth as fingerprints under the
// environment's own key, passwords as the hashes they are stored as, fields of the control plane not at all.
//
// # Rows that do not open
//
// A row that stops to open while the publisher runs keeps its last good form, stops nothing else, and is tried
// again every few seconds. At the first read there is no such form: a damaged row is left out, but while a key
// of the keyring is missing nothing is published at all, since leaving its rows out would take them from data
// planes that still serve them. The key coming back, or the rows being deleted or written anew, ends that.
//
// # An empty configuration
//
// Every configuration holds its environment's fingerprint key; one that holds nothing else is empty. It
// replaces a good one only if it says that this is meant, and it says so when the database's history shows how
// it came about: the newest revision that concerned data planes is a deletion. A new database has none, and so
// has one that was emptied with SQL; data planes refuse what it offers, and its operator, who does mean it,
// makes any entity by the Admin API and deletes it.
package publish

import (
	"context"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/schema"
)

// DefaultEnvironment is the one environment that exists without being made.
const DefaultEnvironment = "default"

const (
	// Pauses between two attempts to read everything. A keyring that waits for its recovery is such a time.
	firstPause   = time.Second
	longestPause = 4 * time.Second
	// lookEvery is how often the epoch and the rows that do not open are looked at again.
	lookEvery = 3 * time.Second
)

// Store is what the publisher reads; record.Store says what its methods promise.
type Store interface {
	Meta
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[record.Row, error]) error) error
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
	History(ctx context.Context, after uint64, limit int) ([]record.Revision, error)
	Head(ctx context.Context) (uint64, error)
}

// Feed yields committed history; controlplane/changefeed says what it promises.
type Feed interface {
	After(ctx context.Context, revision uint64) iter.Seq2[[]record.Revision, error]
}

// Catalog opens the secrets of a stored row.
type Catalog interface {
	// Start makes what every database has, the environment among it, as far as the keyring allows now.
	Start(ctx context.Context) error
	Open(ctx context.Context, row record.Row) (proto.Message, error)
}

// Publisher keeps the newest configuration of every environment.
type Publisher struct {
	store       Store
	feed        Feed
	wire        *wire
	log         *slog.Logger
	environment *environment
	packer      *packer
	seen        atomic.Uint64                      // revision that environment shows
	asked       atomic.Bool                        // to read everything again
	turn        atomic.Pointer[context.CancelFunc] // ends the present turn of following

	// Touched by Run alone.
	epoch   uint64
	emptied bool                    // the newest revision that concerned data planes only deleted
	stuck   map[record.Ref]struct{} // rows that keep an earlier form because they do not open
}

// New makes a Publisher and starts nothing.
func New(store Store, feed Feed, catalog Catalog, entities *schema.Schema, log *slog.Logger) *Publisher {
	return &Publisher{
		store: store, feed: feed, wire: &wire{catalog: catalog, schema: entities}, log: log,
		environment: newEnvironment(), packer: newPacker(), stuck: map[record.Ref]struct{}{},
	}
}

// Seen returns the newest revision that data planes are offered.
func (p *Publisher) Seen() uint64 { return p.seen.Load() }

// Current returns epoch, version and hash of what an environment's data planes should hold, and false before
// the database was read or for an unknown environment.
func (p *Publisher) Current(environment string) (epoch, number uint64, hash configset.Hash, ok bool) {
	if environment != DefaultEnvironment {
		return 0, 0, configset.Hash{}, false
	}
	v, _ := p.environment.newest()
	if v == nil {
		return 0, 0, configset.Hash{}, false
	}
	return v.epoch, v.number, v.set.Hash(), true
}

// Reload has Run read everything again, the epoch too.
func (p *Publisher) Reload() {
	p.asked.Store(true)
	if end := p.turn.Load(); end != nil {
		(*end)()
	}
}

// Run reads the database and follows its history until ctx ends. It outlives every fault of the database.
func (p *Publisher) Run(ctx context.Context) error {
	pause := firstPause
	for {
		err := p.load(ctx)
		if err == nil {
			pause = firstPause
			err = p.follow(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if again, ok := err.(reread); ok {
			p.log.Info("the configuration is read as a whole", "why", again)
			continue
		}
		p.log.Warn("the configuration must be read as a whole; data planes keep what they have", "why", err, "retry_in", pause)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// reread says why following is not enough, where nothing is wrong.
type reread string

func (r reread) Error() string { return string(r) }
