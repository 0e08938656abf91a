package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Shown is the own certificate with all that leads to the CAs that are believed, and from those to a root.
func (t *Trust) Shown() tls.Certificate {
	pair := t.own.Pair
	pair.Certificate = slices.Clone(pair.Certificate)
	show := func(ca *x509.Certificate) (added bool) {
		if slices.ContainsFunc(pair.Certificate, func(der []byte) bool { return string(der) == string(ca.Raw) }) {
			return false
		}
		pair.Certificate = append(pair.Certificate, ca.Raw)
		return true
	}
	chains, _ := t.ownChains(t.roots, time.Now()) // without one there is nothing to add
	var last []*x509.Certificate
	for _, chain := range chains {
		for _, ca := range chain[1:] {
			show(ca)
		}
		last = append(last, chain[len(chain)-1])
	}
	for len(last) > 0 { // a CA that is believed ends a chain, though another one of the file may have signed it
		ca := last[0]
		last = last[1:]
		for _, above := range t.cas {
			if !above.Equal(ca) && ca.CheckSignatureFrom(above) == nil && show(above) {
				last = append(last, above)
			}
		}
	}
	return pair
}

// Revoked says that the node's own certificate was taken back for good, and not replaced or put on hold, by a list that its
// issuer signed: when, and the issuer's name.
func (t *Trust) Revoked() (at time.Time, by string, revoked bool) {
	serial := identity.SerialText(t.own.Pair.Leaf.SerialNumber)
	for ca, list := range t.lists {
		at, listed := list.serials[serial]
		if listed && !list.lenient[serial] && bytes.Equal(t.own.Pair.Leaf.RawIssuer, list.rawIssuer) && t.issued(ca) {
			return at, list.name, true
		}
	}
	return time.Time{}, "", false
}

// issued says whether a CA that is believed has issued this side's certificate.
func (t *Trust) issued(by issuer) bool {
	return slices.ContainsFunc(t.cas, func(ca *x509.Certificate) bool {
		return issuerOf(ca) == by && t.own.Pair.Leaf.CheckSignatureFrom(ca) == nil
	})
}
