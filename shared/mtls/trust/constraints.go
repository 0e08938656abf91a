package trust

import (
	"crypto/x509"
	"slices"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// CheckConstraints holds a role to the constraints of all CAs above it. The verifier of X.509 has done so for the URI;
// that a certificate without one is not held to anything is why it is asked again here.
func CheckConstraints(chain []*x509.Certificate, role identity.Role) error {
	for _, ca := range chain[1:] {
		roles := identity.ConstrainedTo(ca)
		if len(roles) == 0 {
			continue
		}
		if !slices.Contains(roles, role) {
			return verdict.Refuse(verdict.WrongRole, chain[0], "role %s, but its issuer %s may issue to %s alone", role, identity.Quote(ca.Subject.String()), roles)
		}
		if _, err := identity.Of(chain[0]); err != nil {
			return verdict.Refuse(verdict.NoIdentity, chain[0], "below %s every certificate has to say who it is: %v", identity.Quote(ca.Subject.String()), err)
		}
	}
	return nil
}
