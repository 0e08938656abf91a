package dpsettings

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/keepgate/keepgate/shared/fault"
)

// Roots reads the authorities of ssl_trusted_certificate; nil means the system's alone.
func (u Upstream) Roots() (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	files := 0
	for _, name := range u.Trusted {
		if name == "system" {
			system, err := x509.SystemCertPool()
			if err != nil {
				return nil, fmt.Errorf("reading the system's authorities: %w", err)
			}
			pool = system
			if files > 0 {
				return nil, fault.Newf(fault.Invalid, "settings.Roots", "ssl_trusted_certificate", "put the word system first")
			}
			continue
		}
		files++
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("ssl_trusted_certificate: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fault.Newf(fault.Invalid, "settings.Roots", "ssl_trusted_certificate", "%s holds no PEM certificate", name)
		}
	}
	if files == 0 {
		return nil, nil
	}
	return pool, nil
}
