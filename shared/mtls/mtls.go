// Package mtls is TLS for both ends of a cluster link: certificates from files, reloaded while running,
// the peer's identity, and revocation.
//
// It speaks TLS 1.3 only, with the key exchange that Go prefers (X25519MLKEM768). Who a peer is (role,
// organisation, environment, name) stands in one URI SAN of its certificate and comes from nowhere else:
//
//	keepgate://<role>/<organisation>/<environment>/<name>
//
//	role          control-plane | data-plane | admin | kms
//	organisation  label
//	environment   label for a data-plane, "-" for every other role
//	name          label
//	label         1 to 63 of A-Z a-z 0-9 - . _ ~ (RFC 3986 §2.3), the first a letter or digit
//
// There is one spelling of an identity: no percent-encoding, no port, query or fragment, exactly one such
// URI in a certificate. Labels are compared byte by byte.
//
// All policy (chain, key usage, revocation, role, organisation, server name) runs in VerifyConnection
// against the trust of that moment. A check in VerifyPeerCertificate would be skipped on resumed sessions,
// and a chain checked when a ticket was issued says nothing about today. Sessions are not resumed at all:
// links live for days, and a ticket would only carry old trust along. Live connections outlast a
// revocation all the same, so whoever owns one calls [Source.Watch] or [Source.Check].
//
// A configured CRL file must be there, hold one CRL for every CA of the CA file, and be signed by them. A
// CRL past its nextUpdate warns and stays in use: refusing everybody because a file was not renewed would
// turn a delay into an outage. A CRL with a lower number than the one in use is refused.
//
// An identity can also sign ([Source.Sign]) what travels or lies outside of a connection; [Source.Proven]
// believes such a proof by the same policy.
//
// The package does not issue certificates (controlplane/certs) and does not serve the Admin API's TLS.
package mtls

import (
	"log/slog"
	"math/big"
	"sync"
	"sync/atomic"
	"time"
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

// Options tunes a Source. The zero value is right for production, with certificates that name identities.
type Options struct {
	Mode        Mode     // default PKI
	Role        Role     // who this side is; needed in other modes, where its certificate may not say so
	CommonNames []string // with CheckCN: those of data planes; none: the parent domain of the own one
	CrossSigned bool     // a peer may be of a CA that a believed one has signed and of which there is no CRL yet

	Responders Responders // asked about clients that connect, and again while they stay; default nobody
	Optional   bool       // a client may be here of whom no responder knows

	Poll time.Duration // how often Run looks at the files; default 2 s, spread by a fifth
	Log  *slog.Logger  // default: discard
}

// Source is one identity and whom it trusts, as the files say at this moment.
type Source struct {
	files   Files
	options Options
	trust   atomic.Pointer[trust]

	mu      sync.Mutex          // serialises loading
	bundle  Bundle              // guarded by mu
	problem string              // why the files were refused last; guarded by mu
	told    map[string]struct{} // notices already logged for this trust; guarded by mu
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
		options.Mode = PKI
	}
	if err := options.check(files); err != nil {
		return nil, invalid("mtls.Open", "cluster_mtls", err)
	}
	if options.Mode == Shared {
		files.CA = "" // nobody has signed what is compared
	}
	s := &Source{files: files, options: options}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.tell(time.Now())
	return s, nil
}

// Identity returns who this side is.
func (s *Source) Identity() Identity { return s.trust.Load().identity }

// Status is what an operator wants to know of a Source.
type Status struct {
	Identity Identity
	CRLs     []CRLStatus
	Notices  []string // what should be mended, such as a stale CRL
	Problem  string   // why the files on disk are not in use; "" when they are
}

// CRLStatus is one revocation list in use.
type CRLStatus struct {
	Issuer     string
	Number     *big.Int
	ThisUpdate time.Time
	NextUpdate time.Time // zero when the list does not say
	Revoked    int
	Stale      bool // past NextUpdate
}

// Status returns the state of this moment.
func (s *Source) Status() Status {
	t, now := s.trust.Load(), time.Now()
	status := Status{Identity: t.identity, Notices: t.notices(s.files, now)}
	for _, list := range t.sorted() {
		status.CRLs = append(status.CRLs, CRLStatus{
			Issuer: list.name, Number: new(big.Int).Set(list.number),
			ThisUpdate: list.thisUpdate, NextUpdate: list.nextUpdate,
			Revoked: len(list.serials), Stale: list.stale(now),
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Problem = s.problem
	return status
}
