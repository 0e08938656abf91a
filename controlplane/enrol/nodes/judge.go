package nodes

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Why a data plane may not link.
var (
	// ErrUnknown is a certificate of an edge authority that is not on record.
	ErrUnknown = errors.New("its certificate is not on record: invite it anew (keepgate-cp fleet invite), and join again (keepgate-dp join --again)")
	// ErrReplaced is a certificate after which a newer one of the data plane was used.
	ErrReplaced = errors.New("a newer certificate of this data plane is in use; this one counts no more. Where two machines have joined by one name, " +
		"invite this one under another (keepgate-cp fleet invite --name), and join again (keepgate-dp join --again)")
	// ErrUnreadable is a record that does not open.
	ErrUnreadable = errors.New("what is on record of it cannot be opened now")
)

// Revoked says that a data plane was shut out, and carries the order to erase what it holds.
type Revoked struct {
	At     time.Time
	Reason string
	wipe   *enrolv1.SignedWipe
}

func (r *Revoked) Error() string {
	text := "the data plane was revoked at " + r.At.UTC().Format(time.RFC3339)
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// Wipe is the order; nil where this node cannot sign one.
func (r *Revoked) Wipe() *enrolv1.SignedWipe { return r.wipe }

// shown is a certificate as a data plane shows it.
type shown struct {
	serial    string
	notBefore time.Time
	recorded  bool // it must be on record
}

func shownBy(cs tls.ConnectionState, who identity.Identity) shown {
	s := shown{serial: who.Serial, recorded: true}
	if len(cs.PeerCertificates) > 0 {
		s.notBefore, s.recorded = cs.PeerCertificates[0].NotBefore, MustBeKnown(cs)
	}
	return s
}

// MustBeKnown reports whether the peer's certificate is of an edge authority, whose certificates count only while they are
// on record: on some way to a trusted authority there is one that may certify data planes alone.
func MustBeKnown(cs tls.ConnectionState) bool {
	chains := cs.VerifiedChains
	if len(chains) == 0 {
		chains = [][]*x509.Certificate{cs.PeerCertificates}
	}
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(chain[1:], func(ca *x509.Certificate) bool {
			return slices.Equal(identity.ConstrainedTo(ca), []identity.Role{identity.DataPlane})
		})
	})
}

// judge says whether a certificate may be used. unreadable says that there is a record which does not open; d is then nil.
func judge(d *Document, unreadable bool, s shown) error {
	switch {
	case unreadable:
		return ErrUnreadable
	case d == nil && s.recorded:
		return ErrUnknown
	case d == nil:
		return nil
	}
	if slices.ContainsFunc(d.Revoked, func(c Certificate) bool { return c.Serial == s.serial }) {
		return revokedOf(d)
	}
	if i := slices.IndexFunc(d.Certificates, func(c Certificate) bool { return c.Serial == s.serial }); i >= 0 {
		if slices.ContainsFunc(d.Certificates[i+1:], func(c Certificate) bool { return c.UsedAt > 0 }) {
			return ErrReplaced
		}
		return nil
	}
	switch {
	case d.RevokedAt > 0 && s.notBefore.Unix() <= d.RevokedAt:
		return revokedOf(d)
	case s.recorded && d.RenewedAt+d.JoinedAt > 0 && s.notBefore.Unix() < max(d.RenewedAt, d.JoinedAt):
		return ErrReplaced
	case s.recorded:
		return ErrUnknown
	}
	return nil
}

func revokedOf(d *Document) *Revoked {
	return &Revoked{At: time.Unix(d.RevokedAt, 0), Reason: d.Reason}
}

// refuse makes the error that crosses the border, with the order for a revoked one.
func (r *Registry) refuse(who identity.Identity, err error) error {
	if revoked, ok := err.(*Revoked); ok && r.options.Signer != nil {
		signed, signErr := enrolment.SignWipe(r.options.Signer, &enrolv1.Wipe{
			Identity: who.String(), Serial: who.Serial, RevokedAt: revoked.At.Unix(), Reason: revoked.Reason,
		})
		if signErr != nil {
			r.options.Log.Error("a revoked data plane cannot be told to erase what it holds", "data_plane", who.String(), "error", signErr)
		}
		revoked.wipe = signed
	}
	kind := fault.Denied
	if errors.Is(err, ErrUnreadable) {
		kind = fault.Unavailable
	}
	return fault.New(kind, "nodes.Admit", who.String(), err)
}
