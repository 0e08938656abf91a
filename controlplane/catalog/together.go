package catalog

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// Piece is one entity of a change that is made whole or not at all. Its table belongs to no workspace, and its rows have
// no children.
type Piece struct {
	At Address
	// Edit returns what the entity becomes, the way a document of Insert or Update says it; present is nil when there is
	// none yet. A nil document deletes it. An error ends the whole change, and is what Together returns.
	Edit func(present proto.Message) (schema.Document, error)
}

// Together writes several entities in one transaction and returns what they are now, nil for what was deleted. Whenever
// somebody else was faster with any of them, all are read and edited anew, in their order.
func (c *Catalog) Together(ctx context.Context, pieces ...Piece) ([]proto.Message, error) {
	const op = "Together"
	for attempt := range attempts {
		found, err := c.togetherOnce(ctx, op, pieces)
		if edit, ok := err.(editError); ok {
			return nil, edit.error
		}
		_, exists := errors.AsType[*record.ExistsError](err)
		_, unique := errors.AsType[*record.UniqueError](err)
		if !raced(err) && !exists && !unique { // of two that make the same row the second finds it there
			return found, err
		}
		if err := again(ctx, err, attempt, attempts); err != nil {
			return nil, err
		}
	}
	return nil, fault.Newf(fault.Conflict, "catalog."+op, pieces[0].At.Table, "others kept changing the same entities")
}

// editError is what an edit said, which nobody's being faster caused.
type editError struct{ error }

func (c *Catalog) togetherOnce(ctx context.Context, op string, pieces []Piece) ([]proto.Message, error) {
	found := make([]proto.Message, len(pieces))
	var batch record.Batch
	for i, piece := range pieces {
		m, change, err := c.piece(ctx, op, piece)
		if err != nil {
			return nil, err
		}
		found[i] = m
		if change != nil {
			batch.Changes = append(batch.Changes, *change)
		}
	}
	if len(batch.Changes) == 0 {
		return found, nil
	}
	_, err := c.store.Apply(ctx, batch)
	return found, err
}

// piece returns what one entity becomes, and the change that makes it so; nil when it stays as it is.
func (c *Catalog) piece(ctx context.Context, op string, piece Piece) (proto.Message, *record.Change, error) {
	w := writing{op: op, at: piece.At, how: schema.Insert}
	var err error
	if w.e, err = c.entity(op, piece.At.Table); err != nil {
		return nil, nil, err
	}
	var present proto.Message
	row, err := c.find(ctx, op, w.e, "", piece.At.Key, nil)
	switch {
	case fault.KindOf(err) == fault.NotFound:
	case err != nil:
		return nil, nil, err
	default:
		if w.base, err = c.open(row); err != nil {
			return nil, nil, err
		}
		if w.base.err != nil {
			return nil, nil, w.base.err
		}
		w.how, present = schema.Update, w.base.message
	}
	if w.doc, err = piece.Edit(present); err != nil {
		return nil, nil, editError{err}
	}
	if w.doc == nil {
		if present == nil {
			return nil, nil, nil
		}
		return nil, &record.Change{Row: row, Delete: true, Expect: row.Generation}, nil
	}
	m, err := c.build(ctx, &w)
	if err != nil {
		return nil, nil, err
	}
	if w.base != nil && c.schema.Same(w.e, w.base.message, m) {
		return present, nil, nil
	}
	change, err := c.change(&w, "", m)
	return m, &change, err
}
