package mtls

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// askAgain is how often it is looked at what responders have said of a peer that stays.
const askAgain = time.Second

// Responders says what the responders that certificates name (RFC 6960) know of them.
type Responders interface {
	// Ask says whether a certificate that issuer has signed is revoked. An error is why that is not known, or, of a
	// revoked one, what was said. With wait it asks and waits for an answer, within a limit of its own; else it says
	// what it knows, and sees to it that it will go on knowing.
	Ask(ctx context.Context, cert, issuer *x509.Certificate, wait bool) (revoked bool, err error)
	// Run fetches answers until ctx ends.
	Run(ctx context.Context) error
}

// patience is whether an answer is awaited.
type patience bool

const (
	held    patience = false
	awaited patience = true
)

// ask asks the responder of a leaf. What an edge authority has issued has none: the registry knows what became of it.
func (s *Source) ask(ctx context.Context, seen trust.Found, wait patience) error {
	if s.options.Responders == nil || len(seen.Chains) == 0 || len(seen.Chains[0]) < 2 {
		return nil
	}
	leaf, issuer := seen.Chains[0][0], seen.Chains[0][1]
	if identity.DataPlanesAlone(issuer) {
		return nil
	}
	revoked, err := s.options.Responders.Ask(ctx, leaf, issuer, bool(wait))
	switch {
	case revoked:
		return verdict.Refuse(verdict.Revoked, leaf, "says its responder: %v", err)
	case err != nil && !s.options.Optional:
		return verdict.Refuse(verdict.RevocationUnknown, leaf, "cluster_ocsp = on wants an answer of the responder: %v", err)
	case err != nil && wait == awaited:
		s.options.Log.Warn("a client whose responder has not answered is let in, as cluster_ocsp = optional says", "subject", verdict.Subject(leaf), "error", err)
	}
	return nil
}
