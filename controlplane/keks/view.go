package keks

import (
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
)

// view is all KEKs as they were read at one moment. It is never changed.
type view struct {
	keks   map[string]*kek  // by name
	closed map[string]error // rows that do not open and never did here, by id
	head   uint64
	readAt time.Time // when that reading began; zero: never
}

// kek is one KEK.
type kek struct {
	row    string // id
	sum    [sha256.Size]byte
	doc    *document
	keys   map[string]*generation
	behind bool  // the row lacks what this node remembers
	err    error // the row does not open now; the rest is how it was
}

func newKek(row string, sum [sha256.Size]byte, doc *document) *kek {
	k := &kek{row: row, sum: sum, doc: doc, keys: make(map[string]*generation, len(doc.Generations))}
	for _, g := range doc.Generations {
		k.keys[g.KeyID] = g
	}
	return k
}

// renew makes the next view of a page of rows. What does not open stays as it was known.
func (v *view) renew(page catalog.Page, head uint64, began time.Time) *view {
	next := &view{keks: map[string]*kek{}, closed: map[string]error{}, head: head, readAt: began}
	for _, m := range page.Entities {
		row, ok := m.(*configv1.Kek)
		if !ok {
			continue // there is nothing else in the table
		}
		was := v.keks[row.GetName()]
		sum := sha256.Sum256([]byte(row.GetDocument()))
		if was != nil && was.err == nil && !was.behind && was.sum == sum && was.row == row.GetId() {
			next.keks[row.GetName()] = was
			continue
		}
		doc, err := decode(row.GetName(), row.GetDocument())
		if err != nil {
			next.fail(v, row.GetId(), fault.New(fault.Corrupt, "keks.Read", table+"/"+row.GetId(), err))
			continue
		}
		behind := was != nil && doc.merge(was.doc)
		one := newKek(row.GetId(), sum, doc)
		one.behind = behind
		next.keks[row.GetName()] = one
	}
	for _, row := range page.Undecryptable {
		next.fail(v, row.ID, row.Err)
	}
	for name, was := range v.keks {
		if next.keks[name] == nil { // rows are never deleted: the database was restored
			gone := *was
			gone.behind, gone.row = true, ""
			next.keks[name] = &gone
		}
	}
	return next
}

// fail keeps what was known of a row that does not open.
func (v *view) fail(before *view, row string, err error) {
	for name, was := range before.keks {
		if was.row == row {
			held := *was
			held.err = err
			v.keks[name] = &held
			return
		}
	}
	v.closed[row] = err
}

// pick finds a key, or the active one of the KEK when keyID is empty.
func (v *view) pick(name, keyID string) (*kek, *generation, error) {
	const op = "keks.Find"
	k := v.keks[name]
	if k == nil {
		return nil, nil, fault.Newf(fault.NotFound, op, "kek/"+name, "there is no KEK %q", name)
	}
	if keyID != "" {
		if g := k.keys[keyID]; g != nil {
			return k, g, nil
		}
		return nil, nil, fault.Newf(fault.NotFound, op, "kek/"+name, "KEK %q has no such key_id", name)
	}
	g := k.doc.active()
	if g == nil {
		return nil, nil, fault.Newf(fault.Conflict, op, "kek/"+name, "KEK %q has ended: all of its keys are retired", name)
	}
	return k, g, nil
}

// shut is why a KEK that is not known may yet be there: nil when all rows open.
func (v *view) shut() error {
	for _, row := range slices.Sorted(maps.Keys(v.closed)) {
		return v.closed[row]
	}
	return nil
}

// settled reports whether every row opens, and holds what this node remembers.
func (v *view) settled() bool {
	for _, k := range v.keks {
		if k.behind || k.err != nil {
			return false
		}
	}
	return len(v.closed) == 0
}
