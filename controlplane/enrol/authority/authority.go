// Package authority knows whom the planes believe, and certifies data planes.
//
// Both stand in one document, the one row of cluster_trust: the authorities that are believed, and the edge authorities, which are
// intermediate CAs below them whose keys are made here and rest sealed in the document. The key of an authority itself is never here: the
// certificate of an edge authority is signed where that key is (controlplane/certs), and brought back.
//
// The document is sealed as one value and changed by compare-and-set, so that of two nodes one goes first, and whoever writes the
// database without its keys can add no authority. They can bring an older form of it back, or none at all: a node that holds a later one
// goes on with that, and writes it again. A document that rests in clear is not believed.
//
// An authority's way: trusted by everybody first, which control plane nodes say in their leases and data planes over their links; then it
// signs, that is, certifies an edge authority, and data planes of the one before are told to renew; then the one before is retired, once
// nobody needs it. Every step that somebody is not ready for is refused, and says who.
//
// Who may link is controlplane/enrol/nodes's to say, who gets a certificate controlplane/enrol's; TLS is shared/mtls's.
package authority

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// Store reads the row as it rests; record.Store says what the method promises.
type Store interface {
	ByUnique(ctx context.Context, table, workspace, field, value string) (record.Row, error)
}

// Catalog opens and writes the row; controlplane/catalog says what each method promises.
type Catalog interface {
	Open(ctx context.Context, row record.Row) (proto.Message, error)
	Insert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Upsert(ctx context.Context, at catalog.Address, doc schema.Document) (proto.Message, error)
	Change(ctx context.Context, at catalog.Address, edit func(present proto.Message) (schema.Document, error)) (proto.Message, error)
}

// Journal is written before anything is done.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Files is what this node's own files say: whom they name, and the newest list of an authority that is known here.
type Files interface {
	Authorities() []*x509.Certificate
	List(ca *x509.Certificate) (der []byte, found bool)
}

// Holder is a node, and how far it has come.
type Holder struct {
	Name     string
	Sequence uint64   // of the document, or of the trust made of it, that the node holds; 0: files of its operator
	Roots    []string // fingerprints of the authorities under each of which alone its own certificate is believed; none: not known
}

// Deps is what Authorities stand on.
type Deps struct {
	Store        Store
	Catalog      Catalog
	Journal      Journal
	Files        Files
	Organisation string
	// Sealing says why what is written to cluster_trust now would rest in clear; nil when it is sealed.
	Sealing func() error
	// ControlPlanes and DataPlanes are all that have to be waited for: the control plane nodes that live, and the data planes that
	// were seen of late.
	ControlPlanes, DataPlanes func(ctx context.Context) ([]Holder, error)
	// Believe has this node's listener believe and disbelieve authorities, beside its files.
	Believe func(authorities, retired []*x509.Certificate, lists []*x509.RevocationList) error
}

// Options tunes Authorities. The zero value is right for production.
type Options struct {
	Poll    time.Duration // how often the row is looked at without a hint; default 2 s
	Linked  func() int    // data planes that are linked to this node, over which renewals are spread; default: one
	Changed func()        // is called after this node has changed the document
	Taken   func()        // is called when this node goes by another document
	Log     *slog.Logger  // default: discard
}

// Authorities is the document as this node holds it. It is safe for concurrent use.
type Authorities struct {
	deps    Deps
	options Options
	hints   chan struct{}
	state   atomic.Pointer[state]

	loading chan struct{} // held by whoever has put something in, over one reading of the row and what follows of it

	mu      sync.Mutex
	problem string // why the row is not what this node goes by; guarded by mu
	told    string // what the log was told last; guarded by mu
}

// New makes Authorities that hold no document, and reads nothing; see [Authorities.Load].
func New(deps Deps, options Options) *Authorities {
	if options.Poll <= 0 {
		options.Poll = 2 * time.Second
	}
	if options.Linked == nil {
		options.Linked = func() int { return 1 }
	}
	if options.Changed == nil {
		options.Changed = func() {}
	}
	if options.Taken == nil {
		options.Taken = func() {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authorities{deps: deps, options: options, hints: make(chan struct{}, 1), loading: make(chan struct{}, 1)}
	a.state.Store(nothing())
	return a
}

// Sequence is that of the document that this node holds, 0 while it holds none.
func (a *Authorities) Sequence() uint64 { return a.state.Load().doc.Sequence }

// Wake hints that the document may have changed. It never blocks.
func (a *Authorities) Wake() {
	select {
	case a.hints <- struct{}{}:
	default:
	}
}
