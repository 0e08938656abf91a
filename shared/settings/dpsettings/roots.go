package dpsettings

import (
	"crypto/x509"

	"github.com/keepgate/keepgate/shared/settings/values"
)

// Roots reads the authorities of ssl_trusted_certificate; nil means the system's alone.
func (u Upstream) Roots() (*x509.CertPool, error) {
	return values.Roots("ssl_trusted_certificate", u.Trusted)
}
