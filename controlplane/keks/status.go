package keks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Status is one KEK, without any material.
type Status struct {
	Name        string       // "" of a row that never opened here
	KeyID       string       // of the active key; "" of a KEK that has ended
	Keys        []Generation // oldest first, tombstones too
	RotateEvery time.Duration
	RotatesAt   time.Time // zero: never by itself
	Warnings    []string
	Err         error // the row does not open now
}

// Generation is one key.
type Generation struct {
	KeyID                            string
	Number                           uint64
	State                            State
	CreatedAt, ReplacedAt, RetiredAt time.Time // zero: not yet
	Age                              time.Duration
}

func (g *generation) shown(now time.Time) Generation {
	at := func(unix int64) (t time.Time) {
		if unix != 0 {
			t = time.Unix(unix, 0).UTC()
		}
		return t
	}
	created := at(g.CreatedAt)
	return Generation{g.KeyID, g.Number, g.State, created, at(g.ReplacedAt), at(g.RetiredAt), max(0, now.Sub(created)).Truncate(time.Second)}
}

// List shows all KEKs by name, as they are now, and after them the rows that never opened here.
func (k *Keks) List(ctx context.Context) (list []Status, err error) {
	if err := k.reread(ctx); err != nil {
		return nil, err
	}
	return k.known(), nil
}

// known is List of what this node knows already.
func (k *Keks) known() (list []Status) {
	v, now := k.view.Load(), time.Now()
	for _, name := range slices.Sorted(maps.Keys(v.keks)) {
		list = append(list, v.keks[name].status(now))
	}
	for _, row := range slices.Sorted(maps.Keys(v.closed)) {
		list = append(list, Status{Err: v.closed[row]})
	}
	return list
}

// Show shows one KEK as it is now.
func (k *Keks) Show(ctx context.Context, name string) (Status, error) {
	if err := k.reread(ctx); err != nil {
		return Status{}, err
	}
	v := k.view.Load()
	one := v.keks[name]
	if one != nil {
		return one.status(time.Now()), nil
	}
	if shut := v.shut(); shut != nil {
		return Status{}, fault.New(fault.Unavailable, "keks.Show", fault.SubjectOf(shut), fmt.Errorf("a KEK does not open now, and may be this one: %w", shut))
	}
	return Status{}, fault.Newf(fault.NotFound, "keks.Show", "kek/"+name, "there is no KEK %q", name)
}

func (o *kek) status(now time.Time) Status {
	s := Status{Name: o.doc.Name, RotateEvery: time.Duration(o.doc.RotateEvery) * time.Second, Err: o.err}
	for _, g := range o.doc.Generations {
		s.Keys = append(s.Keys, g.shown(now))
	}
	active := o.doc.active()
	if active == nil {
		return s
	}
	s.KeyID = active.KeyID
	if s.RotateEvery > 0 {
		s.RotatesAt = time.Unix(active.CreatedAt, 0).UTC().Add(s.RotateEvery)
	}
	if age := now.Sub(time.Unix(active.CreatedAt, 0)); age >= OldAfter {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the active key is %d days old; Kubernetes advises to rotate after %d", int(age.Hours()/24), int(OldAfter.Hours()/24)))
	}
	if o.behind {
		s.Warnings = append(s.Warnings, "the database has forgotten something of this KEK that this node remembers and writes back")
	}
	return s
}

// warnEvery is how often the log is told of a key that is old.
const warnEvery = 24 * time.Hour

func (k *Keks) warn(ctx context.Context) {
	now := time.Now()
	for _, s := range k.known() {
		if fault.KindOf(s.Err) == fault.Corrupt { // of what lacks a key the keyring tells
			s.Warnings = append(s.Warnings, "its row was changed by others and does not verify: "+fault.Text(s.Err))
		}
		of := s.Name + " " + fault.SubjectOf(s.Err)
		if len(s.Warnings) == 0 {
			delete(k.warned, of)
			continue
		}
		if told, before := k.warned[of]; before && now.Sub(told) < warnEvery {
			continue
		}
		k.warned[of] = now
		k.options.Log.WarnContext(ctx, "a KEK of a Kubernetes cluster", "kek", s.Name, "key_id", s.KeyID, "warnings", s.Warnings)
	}
}
