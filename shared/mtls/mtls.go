// Package mtls is TLS for both ends of a cluster link: one identity, whose files are followed, and connections that
// live as long as their peers may stay.
//
// It speaks TLS 1.3 only, with the key exchange that Go prefers (X25519MLKEM768). Who a peer is says shared/mtls/identity, whether it
// is believed shared/mtls/trust, and why not shared/mtls/verdict.
//
// All policy (chain, key usage, revocation, role, organisation, server name) runs in VerifyConnection
// against the trust of that moment. A check in VerifyPeerCertificate would be skipped on resumed sessions,
// and a chain checked when a ticket was issued says nothing about today. Sessions are not resumed at all:
// links live for days, and a ticket would only carry old trust along. Live connections outlast a
// revocation all the same, so whoever owns one calls [Source.Watch] or [Source.Check].
//
// A configured CRL file must be there.
//
// An identity can also sign ([Source.Sign]) what travels or lies outside of a connection; [Source.Proven]
// believes such a proof by the same policy, as shared/mtls/proof says.
//
// The package does not issue certificates (controlplane/certs) and does not serve the Admin API's TLS.
package mtls

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// Files names the PEM files of one identity.
type Files struct {
	Cert string // the certificate, then intermediates if any
	Key  string // its private key, mode 0600
	CA   string // every trusted CA; while one replaces another, both
	CRL  string // one CRL for each CA; "" checks no revocation
	// CRLIfThere takes a CRL file that is missing for none: for files that the node itself keeps, whole sets at a time.
	CRLIfThere bool
}

// Source is one identity and whom it trusts, as the files say at this moment.
type Source struct {
	files   Files
	options Options
	current atomic.Pointer[current]

	mu      sync.Mutex          // serialises loading
	bundle  trust.Bundle        // guarded by mu
	problem string              // why the files were refused last; guarded by mu
	told    map[string]struct{} // notices already logged for this trust; guarded by mu
}

// current is what is believed at one moment. It is replaced as a whole.
type current struct {
	*trust.Trust
	papers  *papers
	proofs  *proof.Book
	changed chan struct{} // closed when another takes over
}

// Open reads and checks the files. It starts nothing: see Run.
func Open(files Files) (*Source, error) { return OpenWith(files, Options{}) }

// OpenWith is Open with options.
func OpenWith(files Files, options Options) (*Source, error) {
	if options.Poll <= 0 {
		options.Poll = 2 * time.Second
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Mode == "" {
		options.Mode = trust.PKI
	}
	if err := options.check(files); err != nil {
		return nil, invalid("mtls.Open", "cluster_mtls", err)
	}
	if options.Mode == trust.Shared {
		files.CA = "" // nobody has signed what is compared
	}
	s := &Source{files: files, options: options}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.tell(time.Now())
	return s, nil
}

func invalid(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Invalid, op, subject, err)
}
