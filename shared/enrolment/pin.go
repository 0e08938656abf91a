package enrolment

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

var (
	// ErrOtherRoot means that whoever answered is not of the cluster that the token was made in: another cluster's
	// control plane, or somebody in between.
	ErrOtherRoot = errors.New("whoever answered is not of the cluster that the token names")
	// ErrClock means that the certificates are right and the time is not.
	ErrClock = errors.New("the control plane's certificate is not valid at this moment")
	// ErrNoJoin means that the other side speaks TLS but nobody can join there.
	ErrNoJoin = errors.New("nobody can join there")
	// ErrNotControlPlane means that the other side's certificate is of the cluster, and not a control plane's.
	ErrNotControlPlane = errors.New("the certificate shown is not one of a control plane")
)

// CheckPeer asks whether the other side of a connection is a control plane of the cluster that the pin names, and
// returns who it is. The chain must hold the root itself, under its own signature, so that nobody else can say what
// the root allows.
func CheckPeer(cs tls.ConnectionState, root Pin, now time.Time) (identity.Identity, error) {
	if cs.NegotiatedProtocol != Protocol {
		return identity.Identity{}, fmt.Errorf("%w: the protocol was not chosen", ErrNoJoin)
	}
	if len(cs.PeerCertificates) == 0 {
		return identity.Identity{}, fmt.Errorf("%w: it shows no certificate", ErrOtherRoot)
	}
	anchors, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, cert := range cs.PeerCertificates[1:] {
		if PinOf(cert) == root && cert.IsCA && cert.CheckSignatureFrom(cert) == nil {
			anchors.AddCert(cert)
			found = true
			continue
		}
		between.AddCert(cert)
	}
	if !found {
		return identity.Identity{}, fmt.Errorf("%w: it does not show the authority with the hash %s", ErrOtherRoot, root)
	}
	return checkLeaf(cs.PeerCertificates[0], anchors, between, now)
}

func checkLeaf(leaf *x509.Certificate, anchors, between *x509.CertPool, now time.Time) (identity.Identity, error) {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return identity.Identity{}, fmt.Errorf("%w: it is valid from %s to %s, and the clock here says %s", ErrClock,
			stamp(leaf.NotBefore), stamp(leaf.NotAfter), stamp(now))
	}
	if err != nil {
		return identity.Identity{}, fmt.Errorf("%w: %w", ErrOtherRoot, err)
	}
	id, err := identity.Of(leaf)
	if err != nil {
		return identity.Identity{}, fmt.Errorf("%w: %w", ErrNotControlPlane, err)
	}
	if id.Role != identity.ControlPlane {
		return identity.Identity{}, fmt.Errorf("%w: it is a certificate of role %s", ErrNotControlPlane, id.Role)
	}
	return id, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
