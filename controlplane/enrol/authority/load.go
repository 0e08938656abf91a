package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	table         = "cluster_trust"
	rowName       = "cluster"
	fieldName     = "name"
	fieldDocument = "document"

	tellEvery = 24 * time.Hour // the log, of an edge authority that ends
)

var (
	errClear    = errors.New("it rests in clear, so that whoever writes the database may have written it")
	errRewound  = errors.New("the database has an older form of it than this node, as after a restore")
	errVanished = errors.New("the database has lost it")
)

// Run follows the document, and gives lists of revoked certificates that this node's files have first to everybody.
func (a *Authorities) Run(ctx context.Context) error {
	var warned time.Time
	for {
		if err := a.Load(ctx); err == nil {
			a.offerLists(ctx)
		}
		if time.Since(warned) >= tellEvery {
			if a.warn(time.Now()) {
				warned = time.Now()
			}
		}
		timer := time.NewTimer(a.options.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-a.hints:
			timer.Stop()
		}
	}
}

// Load reads the document and goes by it from then on. On error this node goes on with what it holds.
func (a *Authorities) Load(ctx context.Context) error {
	release, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	return a.load(ctx)
}

func (a *Authorities) alone(ctx context.Context) (release func(), err error) {
	select {
	case a.loading <- struct{}{}:
		return func() { <-a.loading }, nil
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "authority", table, context.Cause(ctx))
	}
}

func (a *Authorities) load(ctx context.Context) error {
	err := a.read(ctx)
	if errors.Is(err, errRewound) || errors.Is(err, errVanished) || fault.KindOf(err) == fault.Corrupt && !a.state.Load().none() {
		a.tell(err)
		err = a.restore(ctx, err)
	}
	a.tell(err)
	return err
}

// read takes over what the database holds, if this node may go by it.
func (a *Authorities) read(ctx context.Context) error {
	before := a.state.Load()
	row, err := a.deps.Store.ByUnique(ctx, table, "", fieldName, rowName)
	switch {
	case fault.KindOf(err) == fault.NotFound && before.none():
		return nil
	case fault.KindOf(err) == fault.NotFound:
		return fault.New(fault.Conflict, "authority.Load", table, errVanished)
	case err != nil:
		return err
	}
	sealed := row.Sealed[fieldDocument]
	if sealed == before.sealed && !before.none() {
		return nil
	}
	plain, doc, err := a.open(ctx, row, sealed)
	if err != nil {
		return err
	}
	if plain == before.plain { // sealed anew
		a.take(&state{doc: before.doc, sealed: sealed, plain: plain, trust: before.trust, began: before.began, over: before.over, end: before.end})
		return nil
	}
	if doc.Sequence <= before.doc.Sequence {
		return fault.New(fault.Conflict, "authority.Load", table, errRewound)
	}
	if err := a.deps.Believe(doc.believed()); err != nil {
		return fmt.Errorf("believing what the document says: %w", err)
	}
	a.take(held(doc, sealed, plain))
	a.options.Log.InfoContext(ctx, "whom the planes believe has changed", "sequence", doc.Sequence, "authorities", len(doc.trust().GetAuthorities()))
	return nil
}

func (a *Authorities) open(ctx context.Context, row record.Row, sealed string) (plain string, doc document, err error) {
	if record.MarkOf(sealed) == "" {
		return "", doc, fault.New(fault.Corrupt, "authority.Load", table, errClear)
	}
	m, err := a.deps.Catalog.Open(ctx, row)
	if err != nil {
		return "", doc, err
	}
	plain = m.(*configv1.ClusterTrust).GetDocument()
	if doc, err = parseDocument(plain); err != nil { // it opens, so a control plane wrote it: not to be written over
		return "", doc, fault.New(fault.Conflict, "authority.Load", table, fmt.Errorf("it was written by another version of keepgate-cp: %w", err))
	}
	return plain, doc, nil
}

// take goes by another state.
func (a *Authorities) take(next *state) {
	before := a.state.Swap(next)
	if before.over != next.over {
		before.end()
		a.options.Taken()
	}
}

// tell keeps why the database's document is not what this node goes by, and says it to the log once.
func (a *Authorities) tell(err error) {
	text := ""
	if err != nil {
		text = fault.Text(err)
	}
	a.mu.Lock()
	told := a.told
	a.problem, a.told = text, text
	a.mu.Unlock()
	switch {
	case text == told:
	case text == "":
		a.options.Log.Info("the document of whom the planes believe is in order again")
	case a.state.Load().none():
		a.options.Log.Error("the document of whom the planes believe is not believed: data planes are not certified, and those below an edge authority may be refused", "error", err)
	default:
		a.options.Log.Error("the document of whom the planes believe is not taken from the database; going on with the one that is held", "error", err)
	}
}

// restore writes what this node holds over an older document, one that was lost and one that does not open.
func (a *Authorities) restore(ctx context.Context, why error) error {
	if a.deps.Sealing() != nil {
		return why
	}
	mine := a.state.Load()
	if err := a.deps.Journal.Record(ctx, "authority.restore", table, "sequence", fmt.Sprint(mine.doc.Sequence), "why", fault.Text(why)); err != nil {
		return errors.Join(why, err)
	}
	if err := a.overwrite(ctx, mine); err != nil {
		return errors.Join(why, err)
	}
	a.options.Log.WarnContext(ctx, "wrote whom the planes believe into the database again", "sequence", mine.doc.Sequence)
	a.options.Changed()
	return a.read(ctx)
}

// overwrite writes a document unless a later one stands there.
func (a *Authorities) overwrite(ctx context.Context, mine *state) error {
	at := catalog.Address{Table: table, Key: rowName}
	doc := schema.Document{fieldName: rowName, fieldDocument: mine.plain}
	_, err := a.deps.Catalog.Change(ctx, at, func(present proto.Message) (schema.Document, error) {
		if there, err := parseDocument(present.(*configv1.ClusterTrust).GetDocument()); err == nil && there.Sequence > mine.doc.Sequence {
			return nil, errMoved
		}
		return schema.Document{fieldDocument: mine.plain}, nil
	})
	if kind := fault.KindOf(err); err != nil && (kind == fault.NotFound || kind == fault.Corrupt) {
		_, err = a.deps.Catalog.Upsert(ctx, at, doc)
	}
	return err
}
