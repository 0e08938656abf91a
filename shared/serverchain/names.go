package serverchain

import "crypto/x509"

// Names is the part of [Verify] that compares names, for whoever tells an operator what of it fails.
func Names(leaf *x509.Certificate, d Demand) error {
	byCommonName := !hasAlternativeNames(leaf)
	if covers(leaf, d.Host, byCommonName) || d.Or != "" && covers(leaf, d.Or, byCommonName) {
		return nil
	}
	return wrongHost(leaf, d, byCommonName)
}
