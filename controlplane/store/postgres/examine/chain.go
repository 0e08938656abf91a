package examine

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/shared/serverchain"
)

const inClear = "none: in clear"

// chain looks whether the server's certificate leads to an authority that is trusted, at a moment when all of it is valid: dates
// have a step of their own.
func (h *host) chain(context.Context) finding.Result {
	shown := h.state.PeerCertificates
	if len(shown) == 0 {
		return finding.Fine(inClear)
	}
	if !h.config.Server.Verify {
		return finding.Beware(papers.Show(shown)+", not verified", "set pg_ssl_verify = on")
	}
	_, err := h.chains(shown)
	switch {
	case err == nil:
		return finding.Fine("%s", papers.Show(shown))
	case strings.Contains(err.Error(), "nobody who is trusted"):
		return h.untrusted(shown)
	case strings.Contains(err.Error(), "ssl_verify_depth allows"):
		return finding.Bad(err.Error(), "raise ssl_verify_depth to the number of intermediate certificates")
	case outOfDate(err) && papers.Dates("", shown, "").Verdict == finding.Wrong:
		return finding.Because("dates") // never were all valid at once: an authority was renewed after the server's had ended
	case strings.Contains(err.Error(), "extended key usage"):
		return finding.Bad("the server's certificate is not for servers (extended key usage)", "issue it one that is: keepgate-cp certs issue HOST --role server")
	}
	return finding.Bad(err.Error(), "issue the server's certificate anew: keepgate-cp certs issue HOST --role server")
}

func outOfDate(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

// chains are the ways from the server's certificate to an authority, whatever its names.
func (h *host) chains(shown []*x509.Certificate) ([][]*x509.Certificate, error) {
	var found [][]*x509.Certificate
	demand := h.demand()
	demand.Host, demand.Now = ownName(shown[0]), within(shown)
	demand.Revoked = func(chain []*x509.Certificate) error {
		found = append(found, chain)
		return nil
	}
	err := h.files.trust.Verify(shown, demand)
	return found, err
}

// ownName is a name that the certificate is for, or one that none is.
func ownName(leaf *x509.Certificate) string {
	switch {
	case len(leaf.DNSNames) > 0:
		return strings.Replace(leaf.DNSNames[0], "*", "a", 1)
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	case leaf.Subject.CommonName != "":
		return strings.Replace(leaf.Subject.CommonName, "*", "a", 1)
	}
	return "invalid"
}

// within is now, or where some of the certificates are not valid now, the nearest moment when they are.
func within(certs []*x509.Certificate) time.Time {
	now := time.Now()
	for _, cert := range certs {
		if now.After(cert.NotAfter) {
			now = cert.NotAfter
		}
		if now.Before(cert.NotBefore) {
			now = cert.NotBefore
		}
	}
	return now
}

// untrusted tells a missing intermediate certificate from a wrong authority, as far as that can be told from here.
func (h *host) untrusted(shown []*x509.Certificate) finding.Result {
	last := shown[len(shown)-1]
	issuer, host := papers.Issuer(last), h.at.Name
	fact := fmt.Sprintf("%s sent %s, and %s is not trusted", host, papers.Show(shown), issuer)
	if last.CheckSignatureFrom(last) == nil { // it sent its chain to the end
		return finding.Bad(fact, fmt.Sprintf("add the certificate of %s to ssl_trusted_certificate, if that is whom you trust", issuer))
	}
	for _, known := range h.files.pair.Chain() { // our own chain may have what the server's lacks
		if !known.IsCA || last.CheckSignatureFrom(known) != nil {
			continue
		}
		if _, err := h.chains(append(slices.Clone(shown), h.files.pair.Chain()...)); err == nil {
			return finding.Bad(fmt.Sprintf("%s does not send the intermediate certificate %s", host, issuer),
				fmt.Sprintf("append the certificate of %s to the server's ssl_cert_file", issuer))
		}
	}
	if h.rootNamed(last) {
		return finding.Bad(fact, fmt.Sprintf("the certificate of %s in ssl_trusted_certificate has another key than the one that issued this, an older or newer one: put that one there", issuer))
	}
	if len(shown) == 1 {
		return finding.Bad(fact, fmt.Sprintf("if %[1]s is an intermediate authority, append its certificate to the server's ssl_cert_file; else add that of %[1]s to ssl_trusted_certificate", issuer))
	}
	return finding.Bad(fact, fmt.Sprintf("add the certificate of %s to ssl_trusted_certificate: what is there is another authority", issuer))
}

// rootNamed says whether an authority of the same name as a certificate's issuer is trusted, with another key.
func (h *host) rootNamed(cert *x509.Certificate) bool {
	for _, from := range h.config.Server.Trusted {
		certs, err := papers.Certificates(from)
		if err != nil {
			continue
		}
		for _, root := range certs {
			if root.Subject.String() == cert.Issuer.String() {
				return true
			}
		}
	}
	return false
}

func (h *host) names(context.Context) finding.Result {
	if len(h.state.PeerCertificates) == 0 {
		return finding.Fine(inClear)
	}
	leaf := h.state.PeerCertificates[0]
	if err := serverchain.Names(leaf, h.demand()); err != nil {
		return h.unverified(finding.Bad(err.Error(), "set pg_host to a name that the certificate is for, or issue the server one for it: keepgate-cp certs issue "+h.at.Name+" --role server"))
	}
	if serverchain.ByCommonName(leaf) {
		return finding.Beware("the server's certificate has no subjectAltName; its common name "+papers.Name(leaf)+" matches",
			"issue it anew where its authority is, with subjectAltName = "+altName(h.at.Name)+" (openssl x509 -req … -extfile, or keepgate-cp certs issue "+h.at.Name+" --role server)")
	}
	return finding.Fine("the certificate is for %s", h.at.Name)
}

// altName is how OpenSSL's configuration writes a name.
func altName(host string) string {
	if net.ParseIP(host) != nil {
		return "IP:" + host
	}
	return "DNS:" + host
}

func (h *host) dates(context.Context) finding.Result {
	if len(h.state.PeerCertificates) == 0 {
		return finding.Fine(inClear)
	}
	return h.unverified(papers.Dates("of the server", h.state.PeerCertificates,
		"keepgate-cp certs renew FILE where its authority is, then SELECT pg_reload_conf()"))
}

func (h *host) revocation(context.Context) finding.Result {
	if len(h.state.PeerCertificates) == 0 {
		return finding.Fine(inClear)
	}
	if h.files.check == nil || !h.config.Server.Verify {
		return finding.Fine("not looked at: pg_ssl_crl_file is not set")
	}
	chains, err := h.chains(h.state.PeerCertificates)
	for _, chain := range chains {
		if err = h.files.check(chain); err == nil {
			return finding.Fine("not revoked")
		}
	}
	switch text := err.Error(); {
	case strings.Contains(text, "was revoked"):
		return finding.Bad(text, "issue the server another certificate: keepgate-cp certs issue "+h.at.Name+" --role server")
	case strings.Contains(text, "has no list of"):
		return finding.Bad(text, "append that authority's list of revoked certificates to "+h.config.Server.CRL)
	default:
		return finding.Bad(text, "fetch a newer list into "+h.config.Server.CRL)
	}
}
