package keks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	readTimeout = 5 * time.Second
	readEvery   = 30 * time.Second      // also when the database has not gone on: rows sealed anew take no revision
	readPause   = 20 * time.Millisecond // between readings that callers ask for, however many they are
	// staleAfter is how old what a node knows may be for it to wrap.
	staleAfter = 15 * time.Second
)

// tried is a reading that failed; the zero value is none.
type tried struct {
	began time.Time
	err   error
}

// Wake hints that rows or the keyring have changed. It never blocks.
func (k *Keks) Wake() {
	select {
	case k.hints <- struct{}{}:
	default:
	}
}

// Run follows the database, rotates what is due, writes back what a restored database has forgotten, and warns of old
// keys.
func (k *Keks) Run(ctx context.Context) error {
	problem := ""
	for forced := true; ; {
		err := k.look(ctx, forced)
		if err == nil {
			err = errors.Join(k.heal(ctx), k.rotateDue(ctx))
			k.warn(ctx)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := fault.Text(err); text != problem {
			if problem = text; err != nil {
				k.options.Log.WarnContext(ctx, "the KEKs of Kubernetes clusters: something is to be done again", "error", err)
			}
		}
		timer := time.NewTimer(k.options.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			forced = false
		case <-k.hints:
			timer.Stop()
			forced = true
		}
	}
}

// look reads the rows when the database has gone on, or else only notes that it has not.
func (k *Keks) look(ctx context.Context, forced bool) error {
	<-k.reading
	defer func() { k.reading <- struct{}{} }()
	v, began := k.view.Load(), time.Now()
	if !forced && v.settled() && k.lastRead.Add(readEvery).After(began) {
		reading, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		head, err := k.store.Head(reading)
		if err != nil {
			return fmt.Errorf("reading how far the database is: %w", err)
		}
		if head == v.head {
			same := *v
			same.readAt = began
			k.view.Store(&same)
			return nil
		}
	}
	return k.read(ctx)
}

// reread reads the rows, or waits for a reading that begins from now on.
func (k *Keks) reread(ctx context.Context) error {
	asked := time.Now()
	select {
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "keks.Read", table, ctx.Err())
	case <-k.reading:
	}
	defer func() { k.reading <- struct{}{} }()
	if k.lastRead.After(asked) {
		return nil
	}
	if k.failed.began.After(asked) {
		return k.failed.err
	}
	timer := time.NewTimer(readPause - min(time.Since(k.lastRead), time.Since(k.failed.began)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "keks.Read", table, ctx.Err())
	case <-timer.C:
	}
	return k.read(context.WithoutCancel(ctx)) // others wait for it
}

// read reads all rows. The caller holds the token.
func (k *Keks) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	began := time.Now()
	head, err := k.store.Head(ctx) // before the rows, which may be newer
	var page catalog.Page
	if err == nil {
		page, err = k.catalog.List(ctx, catalog.Query{Table: table})
	}
	if err != nil {
		err = fault.Newf(fault.Unavailable, "keks.Read", table, "the KEKs cannot be read: %w", err)
		k.failed = tried{began, err}
		return err
	}
	k.lastRead, k.failed = began, tried{}
	k.view.Store(k.view.Load().renew(page, head, began))
	return nil
}

// heal writes back what the database has forgotten.
func (k *Keks) heal(ctx context.Context) (err error) {
	for name, one := range k.view.Load().keks {
		if !one.behind || one.err != nil {
			continue
		}
		if healed := k.restore(ctx, name, one); healed != nil {
			err = errors.Join(err, fmt.Errorf("writing back what the database has forgotten of KEK %s: %w", name, healed))
			continue
		}
		k.options.Log.WarnContext(ctx, "the database had forgotten keys of a KEK, or that they are retired; this node wrote them back", "kek", name)
		k.committed()
	}
	return err
}

func (k *Keks) restore(ctx context.Context, name string, held *kek) error {
	if held.row == "" {
		if err := k.journal.Record(ctx, "kek.restore", "kek/"+name, "key_ids", held.doc.keyIDs()); err != nil {
			return err
		}
		text, err := held.doc.encode()
		if err != nil {
			return err
		}
		_, err = k.catalog.Insert(ctx, catalog.Address{Table: table}, schema.Document{fieldName: name, fieldDoc: text})
		return err
	}
	return k.change(ctx, name, func(d *document) error {
		if !d.merge(held.doc) {
			return nil
		}
		return k.journal.Record(ctx, "kek.restore", "kek/"+name, "key_ids", d.keyIDs())
	})
}

// errRefused ends a change that edit does not want. The catalog would take a conflict for somebody who was faster.
var errRefused = errors.New("refused")

// change edits the document of a KEK by compare-and-set; edit is asked anew when somebody was faster.
func (k *Keks) change(ctx context.Context, name string, edit func(d *document) error) error {
	var refusal error
	_, err := k.catalog.Change(ctx, catalog.Address{Table: table, Key: name}, func(present proto.Message) (schema.Document, error) {
		row, ok := present.(*configv1.Kek)
		if !ok {
			return nil, fault.New(fault.Internal, "keks.Change", table, nil)
		}
		d, err := decode(name, row.GetDocument())
		if err != nil {
			return nil, fault.New(fault.Corrupt, "keks.Change", table+"/"+row.GetId(), err)
		}
		if refusal = edit(d); refusal != nil {
			return nil, errRefused
		}
		text, err := d.encode()
		return schema.Document{fieldDoc: text}, err
	})
	if refusal != nil {
		return refusal
	}
	return err
}

// committed shows a change that was just written, here and to the other nodes.
func (k *Keks) committed() {
	k.Wake()
	k.options.Committed()
}
