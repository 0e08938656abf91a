// Package publish sends each data plane the configuration of its environment: version, delta, snapshot, and the
// stream server.
//
// A [Publisher] reads the database once and then follows the changefeed, so that a change costs what it changes:
// one row read and opened, one path of the environment's tree (shared/configset) renewed, one delta encoded
// once for all data planes. A row that cannot be opened keeps its last good form and stops nothing else.
//
// Data planes get the least secret that does their job: keys of key-auth as fingerprints under the
// environment's own key, passwords as the hashes they are stored as, fields of the control plane not at all.
package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// DefaultEnvironment is the one environment that exists without being made.
const DefaultEnvironment = "default"

// metaEpoch names the number that tells two lives of a database apart.
const metaEpoch = "epoch"

// Pauses between two attempts to read everything. A keyring that waits for its recovery is such a time.
const (
	firstPause   = time.Second
	longestPause = 4 * time.Second
)

// Store is what the publisher reads.
type Store interface {
	Snapshot(ctx context.Context, read func(revision uint64, rows iter.Seq2[record.Row, error]) error) error
	Get(ctx context.Context, table, workspace, id string) (record.Row, error)
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
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
	epoch       uint64                                  // touched by Run alone
	seen        atomic.Uint64                           // revision that environment shows
	end         atomic.Pointer[context.CancelCauseFunc] // ends the present round of Run
}

// New makes a Publisher and starts nothing.
func New(store Store, feed Feed, catalog Catalog, entities *schema.Schema, log *slog.Logger) *Publisher {
	return &Publisher{
		store: store, feed: feed, wire: &wire{catalog: catalog, schema: entities}, log: log, environment: newEnvironment(),
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

var errAgain = errors.New("asked to read everything again")

// Reload has Run read everything again, the epoch too.
func (p *Publisher) Reload() {
	if end := p.end.Load(); end != nil {
		(*end)(errAgain)
	}
}

// Run reads the database and follows its history until ctx ends. It outlives every fault of the database.
func (p *Publisher) Run(ctx context.Context) error {
	pause := firstPause
	for {
		round, end := context.WithCancelCause(ctx)
		p.end.Store(&end)
		revision, err := p.load(round)
		if err == nil {
			pause = firstPause
			err = p.follow(round, revision)
		}
		again := errors.Is(context.Cause(round), errAgain)
		end(nil)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if again {
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

// load reads everything once.
func (p *Publisher) load(ctx context.Context) (revision uint64, err error) {
	if err := p.wire.catalog.Start(ctx); err != nil {
		return 0, err
	}
	if p.epoch, err = p.readEpoch(ctx); err != nil {
		return 0, err
	}
	var rows []record.Row
	err = p.store.Snapshot(ctx, func(at uint64, seq iter.Seq2[record.Row, error]) error {
		revision, rows = at, rows[:0]
		for row, err := range seq {
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading the configuration: %w", err)
	}
	if err := p.wire.begin(ctx, rows); err != nil {
		return 0, err
	}
	previous, _ := p.environment.newest()
	set := configset.Of(func(yield func(configset.Entry) bool) {
		for _, row := range rows {
			entry, ok := p.entry(ctx, row, previous)
			if ok && !yield(entry) {
				return
			}
		}
		yield(p.wire.keyEntry)
	})
	p.environment.set(&version{epoch: p.epoch, number: revision, set: set})
	p.seen.Store(revision)
	return revision, nil
}

// entry makes the wire form of a row. A row that cannot be opened keeps the form that it had.
func (p *Publisher) entry(ctx context.Context, row record.Row, previous *version) (configset.Entry, bool) {
	entry, ok, err := p.wire.entry(ctx, row)
	if err == nil {
		return entry, ok
	}
	p.log.Error("a row cannot be opened; data planes keep the form they have",
		"row", row.Table+"/"+row.ID, "subject", fault.SubjectOf(err), "error", err)
	if previous == nil {
		return configset.Entry{}, false
	}
	return previous.set.Get(row.Table, row.ID)
}

// follow applies history as it is committed; it returns when only a new load helps.
func (p *Publisher) follow(ctx context.Context, revision uint64) error {
	for batch, err := range p.feed.After(ctx, revision) {
		switch {
		case errors.Is(err, record.ErrTrimmed), errors.Is(err, record.ErrRewound):
			return err
		case err != nil:
			p.log.Warn("cannot read changes; data planes keep what they have", "error", err)
			continue
		}
		if err := p.advance(ctx, batch); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// advance brings the environment to the end of the batch.
func (p *Publisher) advance(ctx context.Context, batch []record.Revision) error {
	current, _ := p.environment.newest()
	set := current.set
	for _, ref := range latest(batch) {
		if p.wire.concerns(ref) {
			return fmt.Errorf("%s/%s changes what every entry looks like", ref.Table, ref.ID)
		}
		row, err := p.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			set = set.Delete(ref.Table, ref.ID)
			continue
		case err != nil:
			return fmt.Errorf("reading %s/%s: %w", ref.Table, ref.ID, err)
		}
		if entry, ok := p.entry(ctx, row, current); ok {
			set = set.Put(entry)
		}
	}
	last := batch[len(batch)-1].Number
	if set.Hash() != current.set.Hash() {
		p.environment.set(&version{epoch: p.epoch, number: last, set: set})
	}
	p.seen.Store(last)
	return nil
}

// latest names every row of the batch once.
func latest(batch []record.Revision) []record.Ref {
	var refs []record.Ref
	named := map[record.Ref]bool{}
	for _, revision := range batch {
		for _, ref := range revision.Refs {
			ref.Deleted = false
			if !named[ref] {
				named[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// readEpoch returns the database's epoch; the first reader of a new database sets it. It begins at the clock,
// so that data planes of a database that was thrown away take the new one's configuration.
func (p *Publisher) readEpoch(ctx context.Context) (uint64, error) {
	text, found, err := p.store.Meta(ctx, metaEpoch)
	if err == nil && !found {
		text = strconv.FormatInt(time.Now().Unix(), 10)
		err = p.store.SwapMeta(ctx, metaEpoch, nil, text)
		if fault.KindOf(err) == fault.Conflict { // another node was faster
			text, _, err = p.store.Meta(ctx, metaEpoch)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	epoch, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the epoch is no number: %w", err)
	}
	return epoch, nil
}

// RaiseEpoch tells data planes that the database's history began anew, as after a restore: they then take a
// configuration that is older than the one they hold.
func RaiseEpoch(ctx context.Context, store interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
},
) (uint64, error) {
	text, found, err := store.Meta(ctx, metaEpoch)
	if err != nil {
		return 0, fmt.Errorf("reading the epoch: %w", err)
	}
	next := uint64(time.Now().Unix())
	var old *string
	if found {
		held, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the epoch is no number: %w", err)
		}
		next, old = max(next, held+1), &text
	}
	return next, store.SwapMeta(ctx, metaEpoch, old, strconv.FormatUint(next, 10))
}
