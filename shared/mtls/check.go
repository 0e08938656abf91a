package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// PeerOf returns who is at the other end of a connection that this package's configurations accepted.
func PeerOf(cs tls.ConnectionState) (identity.Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return identity.Identity{}, verdict.Refuse(verdict.NoCertificate, nil, "the peer sent no certificate")
	}
	return verdict.IdentityOf(cs.PeerCertificates[0])
}

// Check asks again, with the trust of this moment, whether the peer of an established connection may
// stay: an expired, revoked or no longer trusted one is refused. The roles are those given to Server, or
// the one given to Client.
func (s *Source) Check(cs tls.ConnectionState, allow ...identity.Role) error {
	seen, err := s.look(cs, allow)
	if err != nil {
		return err
	}
	return s.ask(context.Background(), seen, held)
}

// look is Check without what responders say.
func (s *Source) look(cs tls.ConnectionState, allow []identity.Role) (trust.Found, error) {
	// The handshake has checked the key usage for its side, and the server's name. A certificate does not change.
	d := trust.Demand{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, Roles: allow, Linked: true}
	return s.current.Load().Verify(cs, d, time.Now())
}

// PeerOf returns who is at the other end of a connection that this Source's configurations accepted.
func (s *Source) PeerOf(cs tls.ConnectionState) (identity.Identity, error) {
	seen, err := s.look(cs, identity.Roles())
	return seen.Identity, err
}

// Root returns the CA, trusted by itself, under which the peer of a connection verifies now. Of several, as while one
// CA replaces another, it is the one with the shortest way to it. Under a shared certificate it is that.
func (s *Source) Root(cs tls.ConnectionState) (*x509.Certificate, error) {
	seen, err := s.look(cs, identity.Roles())
	switch {
	case err != nil:
		return nil, err
	case len(seen.Chains) == 0:
		return cs.PeerCertificates[0], nil
	}
	return seen.Chains[0][len(seen.Chains[0])-1], nil
}

// Changed returns a channel that is closed when another set of certificates or CRLs takes over. Ask for
// it before Check, so that no change falls between.
func (s *Source) Changed() <-chan struct{} { return s.current.Load().changed }

// Watch returns when the peer of an established connection may no longer stay, with the refusal, or when
// ctx ends, with its cause. The owner of a long-lived stream runs it beside the stream and ends the
// stream when it returns.
func (s *Source) Watch(ctx context.Context, cs tls.ConnectionState, allow ...identity.Role) error {
	for {
		changed := s.Changed()
		if err := s.Check(cs, allow...); err != nil {
			return err
		}
		// At least a second: the clock of the timer and that of the check need not agree.
		pause := max(time.Until(cs.PeerCertificates[0].NotAfter), 0) + time.Second
		if s.options.Responders != nil {
			pause = min(pause, askAgain)
		}
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return context.Cause(ctx)
		case <-changed:
			again.Stop()
		case <-again.C:
		}
	}
}

// Explain is [verdict.Explain] for a handshake of this Source. It adds what the other side's hello gives away: that it does
// not believe in the same way.
func (s *Source) Explain(err error, cs tls.ConnectionState) *verdict.Refusal {
	refusal := verdict.Explain(err)
	if refusal == nil || s.options.Role == identity.DataPlane {
		return refusal
	}
	asked := cs.ServerName == trust.SharedName
	if !slices.Contains([]verdict.Reason{verdict.RefusedByPeer, verdict.NotShared, verdict.UnknownCA}, refusal.Reason) || asked == (s.options.Mode == trust.Shared) {
		return refusal
	}
	hint := "the other side has cluster_mtls = shared, this one " + string(s.options.Mode)
	if !asked {
		hint = "the other side has another cluster_mtls than shared, which this one has"
	}
	told := *refusal
	told.Detail += "; " + hint
	return &told
}
