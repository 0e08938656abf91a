package keks

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Caller is who wraps, by its certificate.
type Caller struct {
	Organisation string
	Identity     string // as a URI
	Serial       string
	Client       string // network address
}

// Use is one call.
type Use struct {
	Name  string // of the KEK
	UID   string // of the request, for the journal
	KeyID string
	Trial bool     // nobody keeps the result: not in the journal, and apart from what is kept
	Also  []string // UIDs of equal calls that this one is made for too
}

const (
	maxUID  = 128
	maxUIDs = 6 << 10 // of one call, in bytes
)

// check bounds what of a call goes into the journal, where a space separates.
func (u Use) check(op string) error {
	size := 0
	for uid := range u.uids() {
		odd := strings.ContainsFunc(uid, func(r rune) bool { return r <= ' ' || r > '~' || r == ';' })
		if odd || len(uid) > maxUID {
			return fault.Newf(fault.Invalid, op, "kek/"+u.Name, "the uid is longer than %d bytes, or not of letters, digits and signs", maxUID)
		}
		size += len(uid) + 2
	}
	if size > maxUIDs {
		return fault.Newf(fault.Invalid, op, "kek/"+u.Name, "the uids of one call come to more than %d bytes", maxUIDs)
	}
	return nil
}

// uids are those of all calls that this one is made for, as the journal shows them.
func (u Use) uids() iter.Seq[string] {
	return func(yield func(string) bool) {
		for next, more := u.UID, u.Also; yield(cmp.Or(next, "-")) && len(more) > 0; {
			next, more = more[0], more[1:]
		}
	}
}

// Wrap seals a plaintext under a key of a KEK: the one that is named, or the active one. It fails with fault.NotFound
// when there is none, with fault.Conflict when it was retired, or replaced longer ago than WrapGrace, with
// fault.Invalid for a size, and with fault.Unavailable when this node does not know how things stand.
func (k *Keks) Wrap(ctx context.Context, by Caller, u Use, plaintext []byte) (wrapped []byte, keyID string, err error) {
	const op = "keks.Wrap"
	begun := time.Now()
	defer func() { k.metrics.used(ctx, "wrap", u, time.Since(begun), err) }()
	if err := u.check(op); err != nil {
		return nil, "", err
	}
	if err := k.fresh(ctx); err != nil {
		return nil, "", err
	}
	one, g, err := k.find(ctx, u.Name, u.KeyID)
	if err != nil {
		return nil, "", k.refused(ctx, by, "wrap", u, err)
	}
	if one.err != nil {
		return nil, "", fault.Newf(fault.Unavailable, op, fault.SubjectOf(one.err), "what became of KEK %q cannot be read: %w", u.Name, one.err)
	}
	if !u.Trial && g.State == Former && begun.After(time.Unix(g.ReplacedAt, 0).Add(WrapGrace)) {
		return nil, "", k.refused(ctx, by, "wrap", u, fault.Newf(fault.Conflict, op, "kek/"+u.Name, "the key was replaced more than %s ago, and only unwraps", WrapGrace))
	}
	if wrapped, err = g.wrap(by.Organisation, u.Name, plaintext, u.Trial); err != nil {
		return nil, "", k.refused(ctx, by, "wrap", u, err)
	}
	u.KeyID = g.KeyID
	return wrapped, g.KeyID, k.record(ctx, by, "wrap", u)
}

// Unwrap opens what Wrap sealed for this organisation, KEK, key and kind of use. It fails as Wrap does, and with
// fault.Invalid for what Wrap did not make.
func (k *Keks) Unwrap(ctx context.Context, by Caller, u Use, wrapped []byte) (plaintext []byte, err error) {
	const op = "keks.Unwrap"
	begun := time.Now()
	defer func() { k.metrics.used(ctx, "unwrap", u, time.Since(begun), err) }()
	if err := u.check(op); err != nil {
		return nil, err
	}
	if u.KeyID == "" {
		return nil, fault.Newf(fault.Invalid, op, "kek/"+u.Name, "the key_id is missing")
	}
	_, g, err := k.find(ctx, u.Name, u.KeyID)
	if err != nil {
		return nil, k.refused(ctx, by, "unwrap", u, err)
	}
	if plaintext, err = g.unwrap(by.Organisation, u.Name, wrapped, u.Trial); err != nil {
		return nil, k.refused(ctx, by, "unwrap", u, err)
	}
	if err := k.record(ctx, by, "unwrap", u); err != nil {
		clear(plaintext)
		return nil, err
	}
	return plaintext, nil
}

// Keys are the keys of a KEK that unwrap, the active one last, and its period.
func (k *Keks) Keys(ctx context.Context, name string) (keys []Generation, rotateEvery time.Duration, err error) {
	if err := k.fresh(ctx); err != nil {
		return nil, 0, err
	}
	one, _, err := k.find(ctx, name, "")
	if err != nil {
		return nil, 0, err
	}
	if one.err != nil {
		return nil, 0, fault.Newf(fault.Unavailable, "keks.Keys", fault.SubjectOf(one.err), "what became of KEK %q cannot be read: %w", name, one.err)
	}
	for _, g := range one.doc.Generations {
		if g.State == Former {
			keys = append(keys, g.shown(time.Now()))
		}
	}
	return append(keys, one.doc.active().shown(time.Now())), time.Duration(one.doc.RotateEvery) * time.Second, nil
}

// fresh makes sure that this node has read lately: only then does it know which keys wrap.
func (k *Keks) fresh(ctx context.Context) error {
	if v := k.view.Load(); time.Since(v.readAt) < staleAfter {
		return nil
	}
	return k.reread(ctx)
}

// find finds a key that is not retired. Before it says that there is none it reads.
func (k *Keks) find(ctx context.Context, name, keyID string) (*kek, *generation, error) {
	const op = "keks.Find"
	one, g, err := k.view.Load().pick(name, keyID)
	if fault.KindOf(err) == fault.NotFound {
		if read := k.reread(ctx); read != nil {
			return nil, nil, read
		}
		v := k.view.Load()
		if one, g, err = v.pick(name, keyID); err != nil && v.keks[name] == nil && v.shut() != nil {
			err = fault.New(fault.Unavailable, op, fault.SubjectOf(v.shut()), fmt.Errorf("a KEK does not open now, and may be this one: %w", v.shut()))
		}
		if err != nil && one == nil && v.keks[name] != nil && v.keks[name].err != nil {
			err = fault.New(fault.Unavailable, op, fault.SubjectOf(v.keks[name].err), fmt.Errorf("the KEK does not open now, and may have this key: %w", v.keks[name].err))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if g.State == Retired {
		return nil, nil, fault.Newf(fault.Conflict, op, "kek/"+name, "the key was retired at %s", time.Unix(g.RetiredAt, 0).UTC().Format(time.RFC3339))
	}
	return one, g, nil
}
