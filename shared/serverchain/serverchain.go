// Package serverchain decides whether the certificates that a server showed are those of the server that was meant.
//
// One rule for every server that an operator names by a host and by whom to trust: PostgreSQL for the control plane, services for
// data planes. Whoever presents an identity of the cluster's own is shared/mtls's.
//
// It is meant for tls.Config.VerifyConnection together with InsecureSkipVerify: that runs on resumed sessions too, against the
// trust of this moment. A certificate counts for
//
//   - the names and addresses in its subjectAltName, RFC 6125 §6.4 (a leftmost "*" stands for one label);
//   - its common name, where it has no subjectAltName at all, as OpenSSL and libpq have it: the usual openssl recipes make
//     such certificates. An authority that may vouch for some names only vouches for no common name, because such limits speak
//     of alternative names (RFC 5280 §4.2.1.10), and for an address the common name must be that address.
package serverchain

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"slices"
	"time"
)

// Demand is what a chain has to prove.
type Demand struct {
	Host  string              // the name or address that was meant
	Or    string              // another one that is as good, or ""
	Roots *x509.CertPool      // whom to believe; nil: the system's authorities
	Known []*x509.Certificate // may stand between the two, beside what the server shows
	// Depth is how many intermediate certificates there may be between the server's own and the authority; below 0 any
	// number. DepthName is what its operator calls it.
	Depth     int
	DepthName string
	Now       time.Time // zero: now
	// Revoked says why a chain that is good otherwise is not, from the server's own certificate to the authority; nil: nobody is asked.
	Revoked func(chain []*x509.Certificate) error
}

var errNothing = errors.New("the server showed no certificate")

// Verify returns nil when the chain that was shown, the server's own certificate first, meets the demand. Its errors say what did
// not, in words for operators.
func Verify(shown []*x509.Certificate, d Demand) error {
	if len(shown) == 0 {
		return errNothing
	}
	if d.Host == "" {
		return errors.New("it is not known which name the server's certificate has to be for")
	}
	leaf := shown[0]
	byCommonName := !hasAlternativeNames(leaf)
	if !covers(leaf, d.Host, byCommonName) && (d.Or == "" || !covers(leaf, d.Or, byCommonName)) {
		return wrongHost(leaf, d, byCommonName)
	}
	options := x509.VerifyOptions{Roots: d.Roots, Intermediates: x509.NewCertPool(), CurrentTime: d.Now}
	for _, above := range shown[1:] {
		options.Intermediates.AddCert(above)
	}
	for _, known := range d.Known {
		options.Intermediates.AddCert(known)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return explain(shown, err)
	}
	if byCommonName {
		chains = slices.DeleteFunc(chains, limited)
		if len(chains) == 0 {
			return errors.New("the server's certificate has a common name only, and its authority may vouch for some names only: it needs a subjectAltName")
		}
	}
	if d.Depth >= 0 {
		short := slices.DeleteFunc(slices.Clone(chains), func(chain []*x509.Certificate) bool { return intermediates(chain) > d.Depth })
		if len(short) == 0 {
			return tooDeep(chains, d)
		}
		chains = short
	}
	return unrevoked(chains, d)
}

// unrevoked wants one chain of which nothing is revoked.
func unrevoked(chains [][]*x509.Certificate, d Demand) (err error) {
	if d.Revoked == nil {
		return nil
	}
	for _, chain := range chains {
		if err = d.Revoked(chain); err == nil {
			return nil
		}
	}
	return err
}

// ByCommonName says whether a certificate counts for its common name.
func ByCommonName(leaf *x509.Certificate) bool { return !hasAlternativeNames(leaf) }

// intermediates is how many certificates lie between the server's own and the authority.
func intermediates(chain []*x509.Certificate) int { return max(0, len(chain)-2) }

// covers says whether a certificate is for a host.
func covers(leaf *x509.Certificate, host string, byCommonName bool) bool {
	if !byCommonName {
		return leaf.VerifyHostname(host) == nil
	}
	name := leaf.Subject.CommonName
	if name == "" {
		return false
	}
	if address := net.ParseIP(host); address != nil {
		return address.Equal(net.ParseIP(name))
	}
	return (&x509.Certificate{DNSNames: []string{name}}).VerifyHostname(host) == nil
}

// limited says whether an authority of the chain may vouch for some names only.
func limited(chain []*x509.Certificate) bool {
	return slices.ContainsFunc(chain[1:], func(c *x509.Certificate) bool {
		return len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedIPRanges)+len(c.ExcludedIPRanges) > 0
	})
}

func hasAlternativeNames(cert *x509.Certificate) bool {
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17} // RFC 5280 §4.2.1.6
	return slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(subjectAltName) })
}
