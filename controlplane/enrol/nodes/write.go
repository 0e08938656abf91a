package nodes

import (
	"context"
	"strconv"
	"time"
)

// mark writes down which certificates were used for the first time. What fails is tried again.
func (r *Registry) mark(ctx context.Context) {
	r.mu.Lock()
	marks := map[string]string{}
	for key, n := range r.nodes {
		if n.marking != "" {
			marks[key] = n.marking
		}
	}
	r.mu.Unlock()
	for key, serial := range marks {
		err := r.change(ctx, key, func(d Document) (Document, error) {
			if _, held := d.Find(serial); !held {
				return d, errGone
			}
			return d.use(serial, time.Now()), nil
		})
		if err != nil && err != errGone {
			if ctx.Err() == nil {
				r.options.Log.Debug("that a data plane uses its new certificate is not written down yet", "data_plane", key, "error", err)
			}
			continue
		}
		r.marked(key, serial)
	}
}

// marked forgets a note that was written, or that nothing is left to be written of.
func (r *Registry) marked(key, serial string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[key]; n != nil && n.marking == serial {
		n.marking = ""
	}
}

// restore gives documents back to a database that has less of them than this process, as after a restore from a backup or
// where somebody else wrote to it. What fails is tried again.
func (r *Registry) restore(ctx context.Context) {
	r.mu.Lock()
	lost := map[string]Document{}
	for key, n := range r.nodes {
		if n.restoring && n.document != nil {
			lost[key] = *n.document
		}
	}
	r.mu.Unlock()
	for key, known := range lost {
		err := r.restoreOne(ctx, key, known)
		if err != nil && err != errGone {
			if ctx.Err() == nil {
				r.options.Log.Warn("the record of a data plane is not restored yet", "data_plane", key, "error", err)
			}
			continue
		}
		r.mu.Lock()
		if n := r.nodes[key]; n != nil {
			n.restoring = false
		}
		r.mu.Unlock()
	}
}

func (r *Registry) restoreOne(ctx context.Context, key string, known Document) error {
	if r.options.Journal != nil {
		if err := r.options.Journal.Record(ctx, "enrol.restore", "data-plane/"+key, "sequence", strconv.FormatUint(known.Sequence, 10)); err != nil {
			return err
		}
	}
	return r.change(ctx, key, func(d Document) (Document, error) {
		if d.Sequence > known.Sequence || d.Sequence > 0 && d.later() > known.later() { // another node was faster, or it has joined anew
			return d, errGone
		}
		return known, nil
	})
}

// change writes one document and takes what it became.
func (r *Registry) change(ctx context.Context, key string, edit func(Document) (Document, error)) error {
	found, err := r.catalog.Together(ctx, Piece(key, edit))
	if err != nil {
		return err
	}
	r.Took(found...)
	return nil
}
