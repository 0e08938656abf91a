// Package crl reads lists of revoked certificates (RFC 5280 §5) and looks chains up in them, for whoever verifies certificates of
// authorities that are not the cluster's: PostgreSQL's and those of the Admin API's clients. The cluster's own lists are shared/mtls's,
// which also holds them to their numbers.
//
// What is not known to be good is refused: an authority without a list, one whose list is out of date, and lists that do not speak of
// all certificates of their authority.
package crl

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Parse reads lists of revoked certificates: PEM, or one in DER.
func Parse(data []byte) (lists []*x509.RevocationList, err error) {
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

// Check looks every certificate of a verified chain up in its issuer's list, as OpenSSL does under X509_V_FLAG_CRL_CHECK_ALL: who has
// no list, or an old one, cannot be known not to be revoked. Errors name the setting that the lists come from.
func Check(lists []*x509.RevocationList, setting string, chain []*x509.Certificate) error {
	for i, cert := range slices.Backward(chain[:len(chain)-1]) { // from above: of an authority that was revoked no list is wanted
		list := listOf(lists, chain[i+1])
		switch {
		case list == nil:
			return fmt.Errorf("%s has no list of %.100q, which issued %.100q", setting, cert.Issuer.String(), cert.Subject.String())
		case !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate):
			return fmt.Errorf("the list of revoked certificates of %.100q is out of date since %s: fetch a newer one into %s",
				cert.Issuer.String(), list.NextUpdate.UTC().Format(time.RFC3339), setting)
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
func listOf(lists []*x509.RevocationList, authority *x509.Certificate) (newest *x509.RevocationList) {
	for _, list := range lists {
		if bytes.Equal(list.RawIssuer, authority.RawSubject) && list.CheckSignatureFrom(authority) == nil &&
			(newest == nil || list.ThisUpdate.After(newest.ThisUpdate)) {
			newest = list
		}
	}
	return newest
}
