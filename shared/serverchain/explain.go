package serverchain

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Certificates are public, but what stands in them was written by whoever showed them: it is quoted and cut.
const (
	maxNames = 6
	maxName  = 100
)

func quoted(name string) string {
	if len(name) > maxName {
		name = name[:maxName] + "…"
	}
	return strconv.Quote(name)
}

// wrongHost says whom the certificate is for instead.
func wrongHost(leaf *x509.Certificate, d Demand, byCommonName bool) error {
	wanted := quoted(d.Host)
	if d.Or != "" {
		wanted += " or " + quoted(d.Or)
	}
	if byCommonName {
		if leaf.Subject.CommonName == "" {
			return fmt.Errorf("the server's certificate is for no name at all, not for %s", wanted)
		}
		return fmt.Errorf("the server's certificate is for %s (its common name; it has no subjectAltName) and not for %s", quoted(leaf.Subject.CommonName), wanted)
	}
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, quoted(name))
	}
	for _, address := range leaf.IPAddresses {
		names = append(names, quoted(address.String()))
	}
	if len(names) == 0 {
		return fmt.Errorf("the server's certificate has a subjectAltName without a host name or address, so it is not for %s", wanted)
	}
	if more := len(names) - maxNames; more > 0 {
		names = append(names[:maxNames], fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("the server's certificate is for %s and not for %s", strings.Join(names, ", "), wanted)
}

// explain says in our words why no chain leads from the server's certificate to an authority.
func explain(shown []*x509.Certificate, err error) error {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return outOfTime(shown, invalid, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("the server's certificate is not for servers (extended key usage): %w", err)
	case errors.As(err, &unknown):
		issuer := shown[len(shown)-1].Issuer.CommonName
		if issuer == "" {
			issuer = shown[len(shown)-1].Issuer.String()
		}
		return fmt.Errorf("the server's certificate was issued by nobody who is trusted (the chain ends at issuer %s): %w", quoted(issuer), err)
	}
	return fmt.Errorf("verifying the server's certificate: %w", err)
}

// outOfTime names the certificate that is not valid now.
func outOfTime(shown []*x509.Certificate, invalid x509.CertificateInvalidError, err error) error {
	which := "a certificate above the server's"
	if invalid.Cert.Equal(shown[0]) {
		which = "the server's certificate"
	}
	const form = time.RFC3339
	return fmt.Errorf("%s is valid from %s to %s: %w", which, invalid.Cert.NotBefore.UTC().Format(form), invalid.Cert.NotAfter.UTC().Format(form), err)
}

func tooDeep(chains [][]*x509.Certificate, d Demand) error {
	least := intermediates(chains[0])
	for _, chain := range chains[1:] {
		least = min(least, intermediates(chain))
	}
	name := d.DepthName
	if name == "" {
		name = "depth"
	}
	return fmt.Errorf("the server's certificate chain has %d intermediate certificates and %s allows %d", least, name, d.Depth)
}
