package mtls

import (
	"crypto/x509"
	"slices"
)

// ConstrainedTo returns the roles to which name constraints (RFC 5280 §4.2.1.10) keep what a CA issues. The role is
// the host of an identity's URI, so that every verifier of X.509 holds the CA to them. Not constrained: nil.
func ConstrainedTo(ca *x509.Certificate) []Role {
	var roles []Role
	for _, domain := range ca.PermittedURIDomains {
		roles = append(roles, Role(domain))
	}
	return roles
}

// isEdge says that a CA can issue to data planes alone.
func isEdge(ca *x509.Certificate) bool {
	return ca.IsCA && ca.PermittedDNSDomainsCritical && slices.Equal(ConstrainedTo(ca), []Role{DataPlane})
}

// checkConstraints holds a role to the constraints of all CAs above it. The verifier of X.509 has done so for the URI;
// that a certificate without one is not held to anything is why it is asked again here.
func checkConstraints(chain []*x509.Certificate, role Role) error {
	for _, ca := range chain[1:] {
		roles := ConstrainedTo(ca)
		if len(roles) == 0 {
			continue
		}
		if !slices.Contains(roles, role) {
			return refuse(WrongRole, chain[0], "role %s, but its issuer %s may issue to %s alone", role, shown(ca.Subject.String()), roles)
		}
		if _, err := IdentityOf(chain[0]); err != nil {
			return refuse(NoIdentity, chain[0], "below %s every certificate has to say who it is: %v", shown(ca.Subject.String()), err)
		}
	}
	return nil
}
