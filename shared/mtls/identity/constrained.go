package identity

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

// DataPlanesAlone says that a CA can issue to data planes alone.
func DataPlanesAlone(ca *x509.Certificate) bool {
	return ca.IsCA && ca.PermittedDNSDomainsCritical && slices.Equal(ConstrainedTo(ca), []Role{DataPlane})
}
