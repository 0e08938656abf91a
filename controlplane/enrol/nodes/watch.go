package nodes

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// How often at most a row is read because its data plane is about to be refused, and how often any row is.
const (
	askAgain     = 250 * time.Millisecond
	asksInSecond = 100
	asksAtOnce   = 200
)

// Admit says whether a data plane may link with the certificate that it shows. A certificate that is used for the first
// time ends the ones before it. The error of a revoked one is a *[Revoked].
func (r *Registry) Admit(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error {
	key, s := Key(who.Environment, who.Name), shownBy(cs, who)
	err := r.judge(key, s)
	if err != nil && r.mayAsk(key) { // it may have been certified by another node just now
		if readErr := r.refresh(ctx, key); readErr != nil && !isRevoked(err) {
			return fault.New(fault.Unavailable, "nodes.Admit", who.String(), readErr)
		}
		err = r.judge(key, s)
	}
	if err != nil {
		return r.refuse(who, err)
	}
	r.used(key, who.Serial)
	return nil
}

// Watch returns when a linked data plane may no longer stay, with the reason, or when ctx ends.
func (r *Registry) Watch(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error {
	key, s := Key(who.Environment, who.Name), shownBy(cs, who)
	for {
		r.mu.Lock()
		changed := r.at(key).changed
		r.mu.Unlock()
		if err := r.judge(key, s); err != nil {
			return r.refuse(who, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

func isRevoked(err error) bool {
	_, revoked := err.(*Revoked)
	return revoked
}

func (r *Registry) judge(key string, s shown) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[key]
	if n == nil {
		n = &node{}
	}
	if n.unreadable == nil && !r.loaded && n.document == nil {
		return ErrUnreadable
	}
	return judge(n.document, n.unreadable != nil, s)
}

// mayAsk bounds how often those who are about to be refused cost a look at the database: each of them, and all together,
// since whoever has an edge authority's key can have any number of names.
func (r *Registry) mayAsk(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[key]; n != nil {
		now := time.Now()
		if now.Sub(n.asked) < askAgain {
			return false
		}
		n.asked = now
	}
	return r.asking.Allow()
}

// refresh reads what is on record of one identity now.
func (r *Registry) refresh(ctx context.Context, key string) error {
	m, err := r.catalog.Get(ctx, catalog.Address{Table: Table, Key: key})
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil
	case fault.KindOf(err) == fault.Corrupt:
		return nil // it was read and did not open: judged as such once history is followed
	case err != nil:
		return err
	}
	r.take(m)
	return nil
}

// Fresh returns what is on record of a data plane at this moment, whichever node wrote it.
func (r *Registry) Fresh(ctx context.Context, environment, name string) (d Document, found bool, err error) {
	if err := r.refresh(ctx, Key(environment, name)); err != nil {
		return Document{}, false, err
	}
	d, found = r.Find(environment, name)
	return d, found, nil
}

// used notes that a certificate was used. Run writes it down.
func (r *Registry) used(key, serial string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.at(key)
	if n.document == nil {
		return
	}
	c, found := n.document.Find(serial)
	if !found || c.UsedAt > 0 {
		return
	}
	d := n.document.use(serial, time.Now())
	n.document, n.marking = &d, serial
	n.tell()
	r.feed.Wake()
}

// Took is told what a transaction with a [Piece] made of its rows, so that this node knows at once; the others are given
// a hint.
func (r *Registry) Took(messages ...proto.Message) {
	for _, m := range messages {
		if _, is := m.(interface{ GetIdentity() string }); is {
			r.take(m)
		}
	}
	r.options.Committed()
}
