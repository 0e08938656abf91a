// Package enrol lets data planes join and renews their certificates.
//
// A join token is made here, shown once and kept as a hash. Whoever has it may get one certificate, for the environment
// that it names and, where it says so, under the name that it names. Of a node's request for a certificate only the key
// counts: role, organisation and environment are ours to say.
//
// A certificate is on record ([nodes]) before anyone holds it, in the transaction that uses the token up: of two nodes with
// one token, at two control plane nodes at the same instant, one gets a certificate. When the answer is lost after that,
// the same node asks again with the same key and gets the same certificate; any other key needs another token.
//
// Everything is in the journal before it is done: tokens made, used, withdrawn, and why one was refused. Who guesses is held
// back as who guesses administrators' tokens is.
//
// It signs nothing: controlplane/enrol/authority does. What both sides agree on is shared/enrolment.
package enrol

import (
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	tableTokens       = "join_tokens"
	tableEnvironments = "environments"
)

// Catalog is where tokens rest; controlplane/catalog says what each method promises.
type Catalog interface {
	Get(ctx context.Context, at catalog.Address) (proto.Message, error)
	List(ctx context.Context, query catalog.Query) (catalog.Page, error)
	Together(ctx context.Context, pieces ...catalog.Piece) ([]proto.Message, error)
}

// Authority certifies data planes.
type Authority interface {
	// Certify makes a certificate of an identity and a public key: DER, the leaf first. It is fault.Unavailable, and says
	// what to do, while nobody can sign.
	Certify(who identity.Identity, public crypto.PublicKey, validity time.Duration) (chain [][]byte, leaf *x509.Certificate, err error)
	// Ready says why Certify would fail now, nil when it would not.
	Ready() error
	// Bundle is whom data planes are to believe; nil: what they have goes on to count.
	Bundle() (*enrolv1.Trust, <-chan struct{})
}

// Journal is where decisions are recorded before they are acted on, and refusals noted.
type Journal interface {
	Record(ctx context.Context, action, subject string, detail ...string) error
	Refused(ctx context.Context, action, subject string, detail ...string)
}

// Options says what the installation is like.
type Options struct {
	Organisation string                        // of every certificate
	Root         func() (enrolment.Pin, error) // the root that this node's own certificate leads to
	Validity     time.Duration                 // of the certificates; default 30 days
	PurgeDelay   time.Duration                 // how long used and expired tokens are listed; default 14 days
	RenewPause   time.Duration                 // between two certificates of one data plane, at least; default 2 s
	Allows       func(name string) error       // why a data plane of this name could not link; nil: any can
	Refusal      func() error                  // why nobody can be invited here, as the settings are; nil: they can
	Committed    func()                        // hints that something was committed
	Journal      Journal                       // nil: nothing is recorded
	Log          *slog.Logger                  // default: discard
}

// Service makes tokens and takes them. It is safe for concurrent use.
type Service struct {
	enrolv1.UnimplementedEnrolServiceServer
	catalog   Catalog
	registry  *nodes.Registry
	authority Authority
	options   Options
	failures  *access.Failures
	crowd     crowd
	joining   chan struct{} // one slot for each that joins at this moment
}

// New makes a Service and starts nothing.
func New(c Catalog, registry *nodes.Registry, authority Authority, options Options) *Service {
	if options.Validity <= 0 {
		options.Validity = 30 * 24 * time.Hour
	}
	if options.RenewPause <= 0 {
		options.RenewPause = renewPause
	}
	if options.PurgeDelay <= 0 {
		options.PurgeDelay = 14 * 24 * time.Hour
	}
	if options.Committed == nil {
		options.Committed = func() {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		catalog: c, registry: registry, authority: authority, options: options, failures: access.NewFailures(),
		joining: make(chan struct{}, joinsAtOnce),
	}
}

func (s *Service) record(ctx context.Context, action, subject string, detail ...string) error {
	if s.options.Journal == nil {
		return nil
	}
	return s.options.Journal.Record(ctx, action, subject, detail...)
}
