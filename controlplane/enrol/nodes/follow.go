package nodes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// node is what this process knows of one identity.
type node struct {
	row        string        // id of its row; "": there is none
	document   *Document     // nil: there is none, or it never opened
	unreadable error         // why the row does not open, where nothing that opened before counts
	changed    chan struct{} // closed when any of it changes
	marking    string        // serial whose first use is not written yet
	restoring  bool          // the database has less of it than document, and gets it back
	asked      time.Time     // when its row was last read because somebody was about to be refused
}

func (n *node) tell() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// at returns the node of a key, and makes it. It runs under mu.
func (r *Registry) at(key string) *node {
	n := r.nodes[key]
	if n == nil {
		n = &node{changed: make(chan struct{})}
		r.nodes[key] = n
	}
	return n
}

// Load reads all documents. What is known already stays unless there is something newer.
func (r *Registry) Load(ctx context.Context) error {
	head, err := r.history.Head(ctx) // what changes while the rows are read is read again after it
	if err != nil {
		return fmt.Errorf("reading the newest revision: %w", err)
	}
	page, err := r.catalog.List(ctx, catalog.Query{Table: Table})
	if err != nil {
		return fmt.Errorf("reading what is on record of data planes: %w", err)
	}
	there := map[string]bool{}
	for _, m := range page.Entities {
		there[r.take(m)] = true
	}
	for _, row := range page.Undecryptable {
		there[row.ID] = true
		if err := r.read(ctx, row.ID); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.byRow {
		if !there[id] {
			r.remove(id)
		}
	}
	r.loaded, r.seen = true, head
	return nil
}

// Run follows what is committed until ctx ends. It outlives every fault of the database.
func (r *Registry) Run(ctx context.Context) error {
	purge := time.Now().Add(time.Minute)
	told := false
	for ctx.Err() == nil {
		err := r.follow(ctx, &purge)
		if ctx.Err() != nil {
			break
		}
		again := errors.Is(err, record.ErrTrimmed) || errors.Is(err, record.ErrRewound)
		if again {
			err = r.Load(ctx)
		}
		if err != nil && !told {
			r.options.Log.Warn("which data planes may link cannot be read; what was known goes on to count", "error", err)
		}
		if told = err != nil; !told {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.options.Look):
		}
	}
	return ctx.Err()
}

// follow reads history on from what the documents show, until that fails.
func (r *Registry) follow(ctx context.Context, purge *time.Time) error {
	r.mu.Lock()
	seen, loaded := r.seen, r.loaded
	r.mu.Unlock()
	if !loaded {
		if err := r.Load(ctx); err != nil {
			return err
		}
		return nil
	}
	for batch, err := range r.feed.After(ctx, seen) {
		if err != nil {
			return err
		}
		if err := r.advance(ctx, batch); err != nil {
			return err
		}
		r.mark(ctx)
		r.restore(ctx)
		if now := time.Now(); now.After(*purge) {
			*purge = now.Add(time.Hour)
			r.purge(ctx, now)
		}
	}
	return ctx.Err()
}

func (r *Registry) advance(ctx context.Context, batch []record.Revision) error {
	for _, revision := range batch {
		for _, ref := range revision.Refs {
			if ref.Table != Table {
				continue
			}
			if err := r.read(ctx, ref.ID); err != nil {
				return err
			}
		}
		r.mu.Lock()
		r.seen = max(r.seen, revision.Number)
		r.mu.Unlock()
	}
	if len(batch) == 0 {
		return r.lookAgain(ctx)
	}
	return nil
}

// lookAgain reads rows that did not open: what brings a key back is no revision.
func (r *Registry) lookAgain(ctx context.Context) error {
	r.mu.Lock()
	var rows []string
	for _, n := range r.nodes {
		if n.unreadable != nil && n.row != "" {
			rows = append(rows, n.row)
		}
	}
	r.mu.Unlock()
	for _, id := range rows {
		if err := r.read(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// read takes one row as it is now.
func (r *Registry) read(ctx context.Context, id string) error {
	row, err := r.catalog.Row(ctx, record.Ref{Table: Table, ID: id})
	if fault.KindOf(err) == fault.NotFound {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.remove(id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s/%s: %w", Table, id, err)
	}
	m, err := r.catalog.Open(ctx, row)
	if ctx.Err() != nil {
		return ctx.Err() // which may be why it did not open
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unopened(row.Unique["identity"], id, err)
		return nil
	}
	r.take(m)
	return nil
}

// take keeps what a row says, unless it says less than is known, and returns the row's id.
func (r *Registry) take(m proto.Message) (id string) {
	row := m.(interface {
		GetId() string
		GetIdentity() string
	})
	d, err := Of(m)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.unopened(row.GetIdentity(), row.GetId(), err)
		return row.GetId()
	}
	r.keep(row.GetId(), d)
	return row.GetId()
}

// keep runs under mu.
func (r *Registry) keep(id string, d Document) {
	n := r.at(d.Key())
	if known := n.document; known != nil && !n.takes(id, d) {
		if n.unreadable = nil; d.Sequence < known.Sequence || n.row != id {
			r.options.Log.Error("what is on record of a data plane went back; what was known goes on to count",
				"data_plane", d.Identity, "known", known.Sequence, "found", d.Sequence)
			n.restoring = true
		}
		n.row, r.byRow[id] = id, d.Key()
		return
	}
	if used, found := d.Find(n.marking); found && used.UsedAt == 0 { // somebody was faster than the note of it
		d = d.use(n.marking, time.Now())
	} else {
		n.marking = ""
	}
	n.row, n.document, n.unreadable, n.restoring = id, &d, nil, false
	r.byRow[id] = d.Key()
	n.tell()
}

// takes says whether a document is later than the one that is known. Of another row it says nothing by its sequence.
func (n *node) takes(id string, d Document) bool {
	if n.row == id {
		return d.Sequence > n.document.Sequence
	}
	return d.later() > n.document.later() || d.later() == n.document.later() && d.Sequence > n.document.Sequence
}

// unopened notes a row that does not open. While only a key is missing, what was known goes on to count. It runs under mu.
func (r *Registry) unopened(key, id string, err error) {
	n := r.at(key)
	r.byRow[id] = key
	if n.document != nil && n.row == id && fault.KindOf(err) == fault.Unavailable {
		return
	}
	if n.unreadable == nil {
		r.options.Log.Error("what is on record of a data plane does not open; it may not link", "data_plane", key, "error", err)
	}
	if n.document != nil && n.row != "" && n.row != id { // another row bears the name in clear: the one that opened counts
		return
	}
	n.row, n.unreadable = id, err
	n.tell()
}

// remove forgets a row that is gone. One that could still matter was not deleted by this program, which has it written
// again. It runs under mu.
func (r *Registry) remove(id string) {
	key, found := r.byRow[id]
	if !found {
		return
	}
	delete(r.byRow, id)
	n := r.nodes[key]
	if n == nil || n.row != id {
		return
	}
	n.row, n.unreadable = "", nil
	if d := n.document; d != nil && !d.spent(time.Now(), 0) {
		r.options.Log.Error("the record of a data plane is gone; what was known goes on to count", "data_plane", d.Identity)
		n.restoring = true
	} else {
		n.document, n.marking, n.restoring = nil, "", false
	}
	n.tell()
}
