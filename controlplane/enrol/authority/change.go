package authority

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// changeAttempts bounds how often a change is made again because another node was faster.
const changeAttempts = 8

var (
	errMoved     = errors.New("another node has changed whom the planes believe just now; try again")
	errUnchanged = errors.New("it is so already")
)

// act says what is about to be done, for the journal.
type act struct {
	op, action, subject string
	detail              []string
}

// change makes the document another one. edit is given what this node has just read, and is asked anew whenever another node was faster;
// errUnchanged ends it well. Where there is no document, it is given the first.
func (a *Authorities) change(ctx context.Context, what act, edit func(d *document, now time.Time) error) error {
	release, err := a.alone(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := a.deps.Sealing(); err != nil {
		return fault.New(fault.Invalid, what.op, table, err)
	}
	recorded := false
	for range changeAttempts {
		if err := a.load(ctx); err != nil {
			return err
		}
		s := a.state.Load()
		doc, err := a.edited(s, what, edit)
		if errors.Is(err, errUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		if !recorded {
			if err := a.deps.Journal.Record(ctx, what.action, what.subject, what.detail...); err != nil {
				return err
			}
			recorded = true
		}
		switch err := a.write(ctx, s, doc); {
		case err == nil:
			a.options.Changed()
			return a.load(ctx)
		case !errors.Is(err, errMoved):
			return err
		}
	}
	return fault.New(fault.Conflict, what.op, table, errMoved)
}

// edited is the text of the next document.
func (a *Authorities) edited(s *state, what act, edit func(d *document, now time.Time) error) (string, error) {
	now, doc := time.Now(), s.doc.copied()
	if s.none() {
		var err error
		if doc, err = a.first(now); err != nil {
			return "", fault.New(fault.Invalid, what.op, what.subject, err)
		}
	} else {
		doc.Sequence = doc.next(now)
	}
	if err := edit(&doc, now); err != nil {
		return "", err
	}
	doc.prune(now)
	if next := doc.trust(); s.none() || !slices.EqualFunc(next.GetAuthorities(), s.trust.GetAuthorities(), bytes.Equal) ||
		!slices.EqualFunc(next.GetRevocationLists(), s.trust.GetRevocationLists(), bytes.Equal) {
		doc.Told = doc.Sequence
	}
	if err := doc.complete(); err != nil {
		return "", fault.New(fault.Internal, what.op, what.subject, err)
	}
	text, err := doc.encode()
	if err != nil {
		return "", fault.New(fault.Invalid, what.op, what.subject, err)
	}
	return text, nil
}

// first is the document of a cluster that has none: all whom this node's files name are believed.
func (a *Authorities) first(now time.Time) (document, error) {
	d := document{Version: documentVersion}
	d.Sequence = d.next(now)
	for _, ca := range a.deps.Files.Authorities() {
		r := root{Certificate: ca.Raw, State: Trusted, AddedAt: now.Unix()}
		if der, found := a.deps.Files.List(ca); found && len(der) <= maxListBytes {
			r.List = der
		}
		if err := r.complete(); err != nil {
			return d, err
		}
		if d.root(r.id) == nil {
			d.Roots = append(d.Roots, r)
		}
	}
	if len(d.Roots) == 0 {
		return d, errors.New("cluster_ca_cert names no authority")
	}
	return d, nil
}

// prune forgets what has ended.
func (d *document) prune(now time.Time) {
	kept := d.Roots[:0:0]
	for _, r := range d.Roots {
		if r.State != Retired || now.Before(r.cert.NotAfter) {
			kept = append(kept, r)
		}
	}
	d.Roots = kept
	edges := d.Edges[:0:0]
	for _, e := range d.Edges {
		if e.State != Former || now.Before(e.cert.NotAfter) {
			edges = append(edges, e)
		}
	}
	d.Edges = edges
}

// write writes the next document over the one that this node has read, or errMoved.
func (a *Authorities) write(ctx context.Context, over *state, text string) error {
	at := catalog.Address{Table: table, Key: rowName}
	if over.none() {
		_, err := a.deps.Catalog.Insert(ctx, at, schema.Document{fieldName: rowName, fieldDocument: text})
		if _, taken := errors.AsType[*record.UniqueError](err); taken || isTaken(err) {
			return errMoved
		}
		return err
	}
	_, err := a.deps.Catalog.Change(ctx, at, func(present proto.Message) (schema.Document, error) {
		if present.(*configv1.ClusterTrust).GetDocument() != over.plain {
			return nil, errMoved
		}
		return schema.Document{fieldDocument: text}, nil
	})
	if fault.KindOf(err) == fault.NotFound {
		return errMoved
	}
	return err
}

// isTaken says that there is a row of that name already.
func isTaken(err error) bool {
	problem, found := errors.AsType[*catalog.Problem](err)
	return found && problem.Code == catalog.UniqueViolation
}
