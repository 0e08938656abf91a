package keks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// Changed is what a change made.
type Changed struct {
	Name  string
	KeyID string // that wraps from now on
	// Former is the key that wrapped before, "" of a first one.
	Former string
	// SafeAt is from when objects may be rewritten, or fail to be; zero when there is nothing to rewrite.
	SafeAt time.Time
}

// Create makes a KEK, or a new key of one that has ended.
func (k *Keks) Create(ctx context.Context, name string, rotateEvery time.Duration) (c Changed, err error) {
	const op = "keks.Create"
	if err := checkName(name); err != nil {
		return c, fault.New(fault.Invalid, op, "kek", err)
	}
	if err := errors.Join(checkPeriod(rotateEvery), k.options.Sealing()); err != nil {
		return c, fault.New(fault.Invalid, op, "kek/"+name, err)
	}
	if err := k.reread(ctx); err != nil {
		return c, err
	}
	if has := k.view.Load().keks[name]; has != nil && has.row != "" {
		return k.begin(ctx, name, rotateEvery)
	}
	d := &document{Version: documentVersion, Name: name, RotateEvery: int64(rotateEvery / time.Second)}
	g, err := d.add(time.Now())
	if err != nil {
		return c, fault.New(fault.Internal, op, "kek/"+name, err)
	}
	text, err := d.encode()
	if err != nil {
		return c, fault.New(fault.Internal, op, "kek/"+name, err)
	}
	if err := k.journal.Record(ctx, "kek.create", "kek/"+name, "key_id", g.KeyID, "rotate_every", rotateEvery.String()); err != nil {
		return c, err
	}
	if _, err := k.catalog.Insert(ctx, catalog.Address{Table: table}, schema.Document{fieldName: name, fieldDoc: text}); err != nil {
		return c, k.outcome(err, op, name)
	}
	return Changed{Name: name, KeyID: g.KeyID}, k.settle(ctx, nil, op, name)
}

// begin makes a new key of a KEK that has ended.
func (k *Keks) begin(ctx context.Context, name string, rotateEvery time.Duration) (c Changed, err error) {
	const op = "keks.Create"
	err = k.change(ctx, name, func(d *document) error {
		if d.active() != nil {
			return fault.Newf(fault.Conflict, op, "kek/"+name, "there is a KEK %q already", name)
		}
		g, err := d.add(time.Now())
		if err != nil {
			return fault.New(fault.Conflict, op, "kek/"+name, err)
		}
		d.RotateEvery = int64(rotateEvery / time.Second)
		c = Changed{Name: name, KeyID: g.KeyID}
		return k.journal.Record(ctx, "kek.create", "kek/"+name, "key_id", g.KeyID, "rotate_every", rotateEvery.String())
	})
	return c, k.settle(ctx, err, op, name)
}

// Rotate has a new key replace the active one.
func (k *Keks) Rotate(ctx context.Context, name string) (Changed, error) {
	return k.rotate(ctx, name, func(*generation) bool { return true })
}

// rotate replaces the active key if it is still to be.
func (k *Keks) rotate(ctx context.Context, name string, due func(active *generation) bool) (c Changed, err error) {
	const op = "keks.Rotate"
	if err := k.options.Sealing(); err != nil {
		return c, fault.New(fault.Invalid, op, "kek/"+name, err)
	}
	err = k.change(ctx, name, func(d *document) error {
		was, now := d.active(), time.Now()
		switch {
		case was == nil:
			return fault.Newf(fault.Conflict, op, "kek/"+name, "KEK %q has ended; create it again to go on with a new key", name)
		case !due(was):
			c = Changed{}
			return nil
		}
		g, err := d.add(now)
		if err != nil {
			return fault.New(fault.Conflict, op, "kek/"+name, err)
		}
		c = Changed{Name: name, KeyID: g.KeyID, Former: was.KeyID, SafeAt: now.Add(SafeAfter)}
		return k.journal.Record(ctx, "kek.rotate", "kek/"+name, "key_id", g.KeyID, "former", was.KeyID)
	})
	return c, k.settle(ctx, err, op, name)
}

// rotateDue rotates what has a period that is over. Any node does; the row decides whose key it is.
func (k *Keks) rotateDue(ctx context.Context) (err error) {
	for name, one := range k.view.Load().keks {
		period, active := one.doc.RotateEvery, one.doc.active()
		if period == 0 || active == nil || one.err != nil || time.Now().Unix() < active.CreatedAt+period {
			continue
		}
		c, failed := k.rotate(ctx, name, func(now *generation) bool { return now.KeyID == active.KeyID })
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("rotating KEK %s, which is due: %w", name, failed))
		} else if c.KeyID != "" {
			k.options.Log.InfoContext(ctx, "a KEK was rotated, as its rotate_every says; objects may be rewritten from then on",
				"kek", name, "key_id", c.KeyID, "former", c.Former, "rewrite_from", c.SafeAt.UTC().Format(time.RFC3339))
		}
	}
	return err
}

// SetRotateEvery sets after which time a key is replaced by itself; 0: never.
func (k *Keks) SetRotateEvery(ctx context.Context, name string, period time.Duration) error {
	const op = "keks.SetRotateEvery"
	if err := checkPeriod(period); err != nil {
		return fault.New(fault.Invalid, op, "kek/"+name, err)
	}
	err := k.change(ctx, name, func(d *document) error {
		if d.RotateEvery = int64(period / time.Second); d.active() == nil {
			return fault.Newf(fault.Conflict, op, "kek/"+name, "KEK %q has ended", name)
		}
		return k.journal.Record(ctx, "kek.change", "kek/"+name, "rotate_every", period.String())
	})
	return k.settle(ctx, err, op, name)
}

// Retire destroys a former key. That no object, backup or API server uses it is the operator's word; early takes it
// also before objects can have been rewritten.
func (k *Keks) Retire(ctx context.Context, name, keyID string, early bool) error {
	const op = "keks.Retire"
	err := k.change(ctx, name, func(d *document) error {
		g, now := d.find(keyID), time.Now()
		switch {
		case g == nil:
			return fault.Newf(fault.NotFound, op, "kek/"+name, "KEK %q has no such key_id", name)
		case g.State == Retired:
			return nil
		case g.State == Active:
			return fault.Newf(fault.Conflict, op, "kek/"+name, "it is the active key: rotate first")
		}
		if safe := time.Unix(g.ReplacedAt, 0).Add(SafeAfter); !early && now.Before(safe) {
			return fault.Newf(fault.Conflict, op, "kek/"+name, "it was replaced so lately that objects can still be written under it, and rewritten from %s at the earliest", safe.UTC().Format(time.RFC3339))
		}
		g.retire(now.Unix())
		return k.journal.Record(ctx, "kek.retire", "kek/"+name, "key_id", keyID, "early", strconv.FormatBool(early))
	})
	return k.settle(ctx, err, op, name)
}

// End destroys all keys of a KEK, of a cluster that is no more. Its name and its tombstones stay.
func (k *Keks) End(ctx context.Context, name string) error {
	const op = "keks.End"
	err := k.change(ctx, name, func(d *document) error {
		now, ended := time.Now().Unix(), false
		for _, g := range d.Generations {
			if g.State == Active {
				g.ReplacedAt = now
			}
			if g.State != Retired {
				g.retire(now)
				ended = true
			}
		}
		if d.RotateEvery = 0; !ended {
			return nil
		}
		return k.journal.Record(ctx, "kek.end", "kek/"+name, "key_ids", d.keyIDs())
	})
	return k.settle(ctx, err, op, name)
}

// settle shows a change, or says what became of it.
func (k *Keks) settle(ctx context.Context, err error, op, name string) error {
	if err != nil {
		return k.outcome(err, op, name)
	}
	k.committed()
	if err := k.reread(ctx); err != nil { // the change stands, and Run reads again
		k.options.Log.WarnContext(ctx, "what was just changed of a KEK is not read yet", "kek", name, "error", err)
	}
	return nil
}

// outcome gives the catalog's refusals our words.
func (k *Keks) outcome(err error, op, name string) error {
	problem, ok := errors.AsType[*catalog.Problem](err)
	switch {
	case !ok:
		return err
	case problem.Code == catalog.NotFound:
		return fault.Newf(fault.NotFound, op, "kek/"+name, "there is no KEK %q", name)
	case problem.Code == catalog.UniqueViolation:
		return fault.Newf(fault.Conflict, op, "kek/"+name, "there is a KEK %q already", name)
	}
	return err
}

func checkPeriod(period time.Duration) error {
	if period != 0 && (period < MinRotateEvery || period > MaxRotateEvery || period%time.Second != 0) {
		return fmt.Errorf("rotate_every is 0, or from %s to %s: objects have to be rewritten in between", MinRotateEvery, MaxRotateEvery)
	}
	return nil
}

// keyIDs names the newest keys, as many as an entry of the journal takes.
func (d *document) keyIDs() string {
	const most = 64
	var ids []string
	for _, g := range d.Generations[max(0, len(d.Generations)-most):] {
		ids = append(ids, g.KeyID)
	}
	return strings.Join(ids, " ")
}
