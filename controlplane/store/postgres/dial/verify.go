package dial

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// configFor is TLS to one host. The verifier is ours and not crypto/tls's, since the usual openssl recipes make certificates without a
// subjectAltName, which that refuses.
func (a *attempt) configFor(name string) *tls.Config {
	config := a.tlsConfig.Clone()
	config.ServerName = name
	if !a.dialer.options.Verify {
		return config
	}
	demand := serverchain.Demand{Host: name, Depth: a.dialer.options.Depth, DepthName: "ssl_verify_depth"}
	if a.material.lists != nil {
		demand.Revoked = a.material.revoked
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := a.material.trust.Verify(state.PeerCertificates, demand); err != nil {
			return refusal{err}
		}
		var warning error
		if serverchain.ByCommonName(state.PeerCertificates[0]) {
			warning = fmt.Errorf("the certificate of the PostgreSQL server %s has no subjectAltName, so its common name counts: issue it anew with one", name)
		}
		a.dialer.warnings.set(name, kindCommonName, warning)
		return nil
	}
	return config
}

// refusal is our no to a server's certificate.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// parseLists reads lists of revoked certificates: PEM, or one in DER.
func parseLists(data []byte) (lists []*x509.RevocationList, err error) {
	const sequence = 0x30 // how any list in DER begins, and no PEM
	if len(data) > 0 && data[0] == sequence {
		list, err := parseList(data)
		return []*x509.RevocationList{list}, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("it holds a %.40q beside lists", block.Type)
		}
		list, err := parseList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, errors.New("there is no list in it")
	}
	return lists, nil
}

// parseList refuses what says less than all of one authority: lists of changes, of some reasons, or of some certificates are marked by
// critical extensions (RFC 5280 §5.2.4, §5.2.5).
func parseList(der []byte) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil && strings.Contains(err.Error(), "unsupported crl version") {
		return nil, errors.New("a list is of version 1, which RFC 5280 §5.1.2.1 forbids: openssl ca makes version 2 " +
			"with crl_extensions (authorityKeyIdentifier = keyid) and crlnumber in its configuration")
	}
	if err != nil {
		return nil, err
	}
	for _, extension := range list.Extensions {
		if extension.Critical {
			return nil, fmt.Errorf("the list of %.100q has the critical extension %s: it does not speak of all certificates", list.Issuer.String(), extension.Id)
		}
	}
	return list, nil
}

// revoked looks every certificate of a verified chain up in its issuer's list, as OpenSSL does under X509_V_FLAG_CRL_CHECK_ALL: who has
// no list, or an old one, cannot be known not to be revoked.
func (m *material) revoked(chain []*x509.Certificate) error {
	for i, cert := range chain[:len(chain)-1] {
		list := m.listOf(chain[i+1])
		switch {
		case list == nil:
			return fmt.Errorf("pg_ssl_crl_file has no list of %.100q, which issued %.100q", cert.Issuer.String(), cert.Subject.String())
		case !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate):
			return fmt.Errorf("the list of revoked certificates of %.100q is out of date since %s: fetch a newer one into pg_ssl_crl_file",
				cert.Issuer.String(), list.NextUpdate.UTC().Format(time.RFC3339))
		}
		for _, entry := range list.RevokedCertificateEntries {
			if entry.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return fmt.Errorf("the certificate %.100q (serial %X) was revoked %s", cert.Subject.String(), cert.SerialNumber,
					entry.RevocationTime.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}

// listOf is the newest list that an authority has signed.
func (m *material) listOf(authority *x509.Certificate) (newest *x509.RevocationList) {
	for _, list := range m.lists {
		if bytes.Equal(list.RawIssuer, authority.RawSubject) && list.CheckSignatureFrom(authority) == nil &&
			(newest == nil || list.ThisUpdate.After(newest.ThisUpdate)) {
			newest = list
		}
	}
	return newest
}
