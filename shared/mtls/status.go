package mtls

import (
	"crypto/x509"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/secret"
)

// Identity returns who this side is.
func (s *Source) Identity() identity.Identity { return s.current.Load().Own().Identity }

// Certificate returns this side's own certificate.
func (s *Source) Certificate() *x509.Certificate { return s.current.Load().Own().Pair.Leaf }

// Authorities returns the CAs of the CA file, without what was told by Believe.
func (s *Source) Authorities() []*x509.Certificate { return s.current.Load().Given() }

// List returns the newest CRL of a CA that is in use, in DER, and whether there is one.
func (s *Source) List(ca *x509.Certificate) (der []byte, found bool) {
	return s.current.Load().List(ca)
}

// Revoked says that this side's own certificate was taken back for good, and not replaced or put on hold, by a list that its
// issuer signed: when, and the issuer's name.
func (s *Source) Revoked() (at time.Time, by string, revoked bool) { return s.current.Load().Revoked() }

// Mode returns whom this side believes.
func (s *Source) Mode() trust.Mode { return s.options.Mode }

// AllowsName says whether a data plane of this common name may link; its certificate is not looked at.
func (s *Source) AllowsName(name string) error {
	if s.options.Mode != trust.CheckCN {
		return nil
	}
	return invalid("mtls.AllowsName", name, s.current.Load().CheckCommonName(name))
}

// PermittedName is the name of a data plane that may link, and that one where it may.
func (s *Source) PermittedName(name string) string {
	if s.options.Mode != trust.CheckCN {
		return name
	}
	return s.current.Load().PermittedName(name)
}

// DeriveKey derives n bytes from the private key in use, as [privatekey.Derive] does.
func (s *Source) DeriveKey(label string, n int) (secret.Bytes, error) {
	derived, err := privatekey.Derive(s.current.Load().Own().Pair.PrivateKey, label, n)
	if err != nil {
		return secret.Bytes{}, invalid("mtls.DeriveKey", s.files.Key, err)
	}
	return derived, nil
}

// Status is what an operator wants to know of a Source.
type Status struct {
	Identity identity.Identity
	CRLs     []trust.ListStatus
	Notices  []string // what should be mended, such as a stale CRL
	Problem  string   // why the files on disk are not in use; "" when they are
}

// Status returns the state of this moment.
func (s *Source) Status() Status {
	c, now := s.current.Load(), time.Now()
	status := Status{Identity: c.Own().Identity, Notices: c.notices(now), CRLs: c.Lists(now)}
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Problem = s.problem
	return status
}

// notices are those about the key's file and all others.
func (c *current) notices(now time.Time) []string {
	if c.papers.notice == "" {
		return c.Notices(now)
	}
	return append([]string{c.papers.notice}, c.Notices(now)...)
}
