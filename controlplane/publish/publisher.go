// Package publish keeps the newest configuration of every environment: it follows the database and shows what it reads.
//
// A [Publisher] reads the database once and then follows the changefeed, for all environments together, so that a change
// costs what it changes: one row read, opened and encoded, one path of a tree (shared/configset) renewed in each
// environment that holds it, one delta encoded once for all data planes of an environment. A version shows whole
// transactions only. Which environment holds what says publish/selection, by what publish/facts reads; in which form publish/wire;
// what leads a data plane there publish/versions; publish/stream sends it.
//
// # Rows that do not open
//
// A row that does not open, because a key of the keyring is missing or because it is damaged, stops nothing else. It is
// published as kept: data planes go on with the last form that they have of it, which may have come from another
// control plane node or before a restart of this one. A row that is changed while it does not open keeps its last
// form, since nobody knows the next; one that is deleted goes, for which no key is needed. When rows open again,
// which is looked for at every poll and hint, they are published as ever. So a control plane that starts without its keys
// takes nothing from anybody. What decides who holds a row is in clear; of a row that cannot be read at all, what it was
// before decides on.
//
// Key-auth keys leave as fingerprints under the environment's key, which is a sealed value too. While that does not
// open, it and every key-auth credential are kept. When it was lost for good and made anew, its name is kept as long as
// any key-auth credential is, whose last form it may have made. While it is changed for another one both are
// sent, and each key as a fingerprint under both, until every data plane of the environment holds that.
//
// # Several nodes
//
// What is published depends on the database and on which rows open, on nothing else: nodes that read the same revision
// and hold the same keys publish the same version, to the byte. A version is the number of the newest revision that
// may have concerned the environment, as far as the history alone tells: it touched an environment, or an entity of one
// of its workspaces. So a number may rise over the same content; then nothing is sent. A data plane that links to a node which has not
// read as far as what it holds gets nothing until that has caught up.
//
// # An empty configuration
//
// Every configuration holds its environment's fingerprint key; one that holds nothing else is empty. It
// replaces a good one only if it says that this is meant. It says so where there are services or routes and none of them
// is for this environment, which somebody has told it; else when the database's history shows how
// it came about: the newest revision that moved its entities is a deletion. A new database has none, and so
// has one that was emptied with SQL; data planes refuse what it offers, and its operator, who does mean it,
// makes any entity by the Admin API and deletes it.
package publish

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/schema"
)

// Pauses between two attempts to read everything.
const (
	firstPause   = time.Second
	longestPause = 4 * time.Second
)

// Store is what the publisher reads; record.Store says what its methods promise.
type Store interface {
	epoch.Meta
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[record.Row, error]) error) error
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
	History(ctx context.Context, after uint64, limit int) ([]record.Revision, error)
	Head(ctx context.Context) (uint64, error)
}

// Feed yields committed history; controlplane/changefeed says what it promises.
type Feed interface {
	After(ctx context.Context, revision uint64) iter.Seq2[[]record.Revision, error]
	Wake()
}

// Catalog opens the secrets of a stored row, and makes what is missing.
type Catalog interface {
	wire.Catalog
	// Start makes what every database has, the default environment among it, as far as the keyring allows now.
	Start(ctx context.Context) error
	// DropPreviousFingerprintKey ends the change of an environment's fingerprint key.
	DropPreviousFingerprintKey(ctx context.Context, environment, id string) error
}

// Nodes are the data planes; controlplane/fleet has them.
type Nodes interface {
	List(ctx context.Context) ([]fleet.Status, error)
}

// Publisher keeps the newest configuration of every environment.
type Publisher struct {
	store        Store
	feed         Feed
	catalog      Catalog
	nodes        Nodes
	schema       *schema.Schema
	log          *slog.Logger
	environments *versions.Environments
	seen         atomic.Uint64        // revision that the environments show
	kept         atomic.Pointer[Kept] // what of it does not open
	asked        atomic.Bool          // to read everything again

	mu    sync.RWMutex
	state *state // changed by Run alone, under mu; nil before the database was read

	// Touched by Run alone.
	epoch  uint64
	stuck  *stuck    // rows that do not open
	looked time.Time // when what no revision tells was last looked for
	tried  time.Time // when that was done for what is not waiting for a key
}

// New makes a Publisher and starts nothing.
func New(store Store, feed Feed, catalog Catalog, nodes Nodes, entities *schema.Schema, log *slog.Logger) *Publisher {
	return &Publisher{
		store: store, feed: feed, catalog: catalog, nodes: nodes, schema: entities, log: log,
		environments: versions.New(), stuck: newStuck(),
	}
}

// Seen returns the newest revision that data planes are offered.
func (p *Publisher) Seen() uint64 { return p.seen.Load() }

// Environments returns the names of all environments; none before the database was read.
func (p *Publisher) Environments() []string { return p.environments.Names() }

// Current returns epoch, version and hash of what an environment's data planes should hold, and false before
// the database was read or for an unknown environment.
func (p *Publisher) Current(environment string) (epoch, number uint64, hash configset.Hash, ok bool) {
	if !slices.Contains(p.environments.Names(), environment) {
		return 0, 0, configset.Hash{}, false
	}
	v, _ := p.environments.Of(environment).Newest()
	if v == nil {
		return 0, 0, configset.Hash{}, false
	}
	return v.Epoch, v.Number, v.Set.Hash(), true
}

// Environment returns what the data planes of an environment should hold, nil when there is none of that name.
func (p *Publisher) Environment(name string) *versions.Environment { return p.environments.Of(name) }

// Reload has Run read everything again, the epoch too.
func (p *Publisher) Reload() {
	p.asked.Store(true)
	p.feed.Wake()
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
