package nodes

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/schema"
)

var errGone = errors.New("nothing is on record of the data plane any more")

// Node is what is known of one identity.
type Node struct {
	Document
	Key     string
	Problem string // why the document does not open; the rest but the key is empty then
}

// List returns all that is on record, by key.
func (r *Registry) List() []Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Node
	for key, n := range r.nodes {
		switch {
		case n.unreadable != nil:
			list = append(list, Node{Key: key, Problem: fault.Text(n.unreadable)})
		case n.document != nil:
			list = append(list, Node{Key: key, Document: *n.document})
		}
	}
	slices.SortFunc(list, func(a, b Node) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Find returns what is on record of a data plane.
func (r *Registry) Find(environment, name string) (Document, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[Key(environment, name)]
	if n == nil || n.document == nil || n.unreadable != nil {
		return Document{}, false
	}
	return *n.document, true
}

// Enrolled names the data planes of an environment that have a certificate on record which is valid.
func (r *Registry) Enrolled(environment string) (names []string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, n := range r.nodes {
		at, name, _ := strings.Cut(key, "/")
		if at == environment && (n.unreadable != nil || n.document != nil && len(n.document.Living(now)) > 0) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// JoinedWith returns the identity that joined with a token; "" when none is known to have.
func (r *Registry) JoinedWith(token string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		if n.document != nil && n.document.Token == token {
			return n.document.Identity
		}
	}
	return ""
}

// Revoke shuts a data plane out: every certificate that it has now, those of seen among them, which this control plane
// need not have issued. It is recorded first, and holds on this node when Revoke returns.
func (r *Registry) Revoke(ctx context.Context, environment, name, reason string, seen ...Certificate) (Document, error) {
	const op = "nodes.Revoke"
	if r.options.Refusal != nil {
		if err := r.options.Refusal(); err != nil {
			return Document{}, err
		}
	}
	who := identity.Identity{Role: identity.DataPlane, Organisation: r.options.Organisation, Environment: environment, Name: name}
	if err := who.Validate(); err != nil {
		return Document{}, fault.New(fault.Invalid, op, "data plane", err)
	}
	if len(reason) > maxReason || strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return Document{}, fault.Newf(fault.Invalid, op, "reason", "a reason has at most %d characters, on one line", maxReason)
	}
	key := Key(who.Environment, who.Name)
	if r.options.Journal != nil {
		if err := r.options.Journal.Record(ctx, "enrol.revoke", "data-plane/"+key, "reason", reason); err != nil {
			return Document{}, err
		}
	}
	var after Document
	err := r.change(ctx, key, func(d Document) (Document, error) {
		d.Identity = who.String()
		after = d.revoke(reason, seen, time.Now())
		return after, nil
	})
	if fault.KindOf(err) == fault.Corrupt {
		after, err = r.replace(ctx, who, reason, seen)
	}
	if isKey(err) {
		return Document{}, fault.Newf(fault.KindOf(err), op, "data-plane/"+key,
			"what is on record of it does not open, so that nodes which never opened it refuse it; revoke it again once it opens: %w", err)
	}
	return after, err
}

// replace revokes where the row was changed or moved by somebody, who may have known what it said. Nothing of it counts any
// more. The sequence is beyond any that was counted, so that nodes which had opened the row take this one.
func (r *Registry) replace(ctx context.Context, who identity.Identity, reason string, seen []Certificate) (Document, error) {
	now := time.Now()
	key := Key(who.Environment, who.Name)
	d := Document{Sequence: uint64(now.UnixMicro()), Identity: who.String()}
	if known, found := r.known(key); found {
		known.Sequence = d.Sequence
		d = known
	}
	d = d.revoke(reason, seen, now)
	text, err := d.Encode()
	if err != nil {
		return Document{}, fault.New(fault.Internal, "nodes.Revoke", Table, err)
	}
	m, err := r.catalog.Upsert(ctx, catalog.Address{Table: Table, Key: key}, schema.Document{"identity": key, "document": text})
	if err != nil {
		return Document{}, err
	}
	r.Took(m)
	return d, nil
}

// known is what a row said before it did not open any more.
func (r *Registry) known(key string) (Document, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[key]; n != nil && n.document != nil {
		return *n.document, true
	}
	return Document{}, false
}

func isKey(err error) bool { return strings.HasPrefix(fault.SubjectOf(err), "key/") }

// purge deletes what can matter no more.
func (r *Registry) purge(ctx context.Context, now time.Time) {
	r.mu.Lock()
	var spent []string
	for key, n := range r.nodes {
		if n.row != "" && n.document != nil && n.unreadable == nil && n.document.spent(now, r.options.PurgeDelay) {
			spent = append(spent, key)
		}
	}
	r.mu.Unlock()
	for _, key := range spent {
		piece := catalog.Piece{At: catalog.Address{Table: Table, Key: key}, Edit: func(m proto.Message) (schema.Document, error) {
			if m == nil {
				return nil, nil
			}
			d, err := Of(m)
			if err == nil && !d.spent(now, r.options.PurgeDelay) {
				err = errGone // it has joined again
			}
			return nil, err
		}}
		if _, err := r.catalog.Together(ctx, piece); err != nil && err != errGone && ctx.Err() == nil {
			r.options.Log.Warn("the record of a data plane whose certificates expired long ago is still there", "data_plane", key, "error", err)
		}
	}
}
