package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// clockSkew is how far in the future an answer may have been made.
const clockSkew = 5 * time.Minute

var (
	oidDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDelta             = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// fetchList fetches the list of an issuer.
func (s *source) fetchList(ctx context.Context, url string) (*answer, error) {
	data, err := s.room.web.get(ctx, s.settings, url, nil, maxListBytes)
	if err != nil {
		return nil, err
	}
	select {
	case s.room.parse <- struct{}{}:
		defer func() { <-s.room.parse }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return readList(data, s.cert, s.issuer, s.settings.Refresh, time.Now())
}

// readList reads a list, in DER or PEM, and accepts it for cert when it is its issuer's, whole and of this time.
// lifetime is for lists that do not say when the next one comes.
func readList(data []byte, cert, issuer *x509.Certificate, lifetime time.Duration, now time.Time) (*answer, error) {
	if block, _ := pem.Decode(data); block != nil && block.Type == "X509 CRL" {
		data = block.Bytes
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, errors.New("the list is of another issuer")
	}
	if weak(list.SignatureAlgorithm) {
		return nil, errWeak
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("the list's signature: %w", err)
	}
	until := list.NextUpdate
	if until.IsZero() {
		until = now.Add(lifetime)
	}
	if err := inTime(list.ThisUpdate, until, now); err != nil {
		return nil, err
	}
	if err := covers(list.Extensions, cert); err != nil {
		return nil, err
	}
	for _, e := range list.RevokedCertificateEntries {
		if hasCritical(e.Extensions) {
			return nil, errors.New("an entry of the list has a critical extension")
		}
	}
	revoked := newSerials(list.RevokedCertificateEntries)
	return &answer{this: list.ThisUpdate, until: until, list: revoked, size: revoked.bytes()}, nil
}

var errWeak = errors.New("it is signed with a broken algorithm")

// weak names what x509 still accepts outside of chains.
func weak(a x509.SignatureAlgorithm) bool {
	return a == x509.SHA1WithRSA || a == x509.ECDSAWithSHA1 || a == x509.DSAWithSHA1
}

func inTime(this, until, now time.Time) error {
	if this.After(now.Add(clockSkew)) {
		return errors.New("the answer is of the future")
	}
	if !now.Before(until) {
		return errors.New("the answer is out of date")
	}
	return nil
}

func hasCritical(extensions []pkix.Extension) bool {
	return slices.ContainsFunc(extensions, func(e pkix.Extension) bool { return e.Critical })
}

// covers refuses a list that does not speak of cert, or not for all reasons.
func covers(extensions []pkix.Extension, cert *x509.Certificate) error {
	for _, e := range extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return errors.New("the list holds changes only (delta), which is not supported")
		case e.Id.Equal(oidDistributionPoint):
			point, err := parsePoint(e.Value)
			if err != nil {
				return err
			}
			if err := point.covers(cert); err != nil {
				return err
			}
		case e.Critical:
			return fmt.Errorf("the list has an unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// point is an issuing distribution point, RFC 5280 §5.2.5.
type point struct {
	named                      bool // names say which certificates it is for
	names                      []string
	usersOnly, authoritiesOnly bool
	other                      bool // of some reasons, indirect, or for attribute certificates
}

var errPoint = errors.New("the list's issuing distribution point cannot be read")

func parsePoint(der []byte) (p point, err error) {
	input := cryptobyte.String(der)
	var fields cryptobyte.String
	if !input.ReadASN1(&fields, cbasn1.SEQUENCE) || !input.Empty() {
		return p, errPoint
	}
	for !fields.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !fields.ReadAnyASN1(&value, &tag) {
			return p, errPoint
		}
		switch tag {
		case cbasn1.Tag(0).ContextSpecific().Constructed():
			p.named = true
			if p.names, err = parseFullName(value); err != nil {
				return p, err
			}
		case cbasn1.Tag(1).ContextSpecific():
			p.usersOnly = isTrue(value)
		case cbasn1.Tag(2).ContextSpecific():
			p.authoritiesOnly = isTrue(value)
		case cbasn1.Tag(3).ContextSpecific():
			p.other = true
		case cbasn1.Tag(4).ContextSpecific(), cbasn1.Tag(5).ContextSpecific():
			p.other = p.other || isTrue(value)
		default:
			return p, errPoint
		}
	}
	return p, nil
}

func isTrue(value cryptobyte.String) bool { return len(value) == 1 && value[0] != 0 }

// parseFullName returns the URIs of a DistributionPointName. A name relative to the issuer yields none.
func parseFullName(value cryptobyte.String) (uris []string, err error) {
	var name cryptobyte.String
	var tag cbasn1.Tag
	if !value.ReadAnyASN1(&name, &tag) || !value.Empty() {
		return nil, errPoint
	}
	if tag != cbasn1.Tag(0).ContextSpecific().Constructed() {
		return nil, nil
	}
	for !name.Empty() {
		var general cryptobyte.String
		if !name.ReadAnyASN1(&general, &tag) {
			return nil, errPoint
		}
		if tag == cbasn1.Tag(6).ContextSpecific() {
			uris = append(uris, string(general))
		}
	}
	return uris, nil
}

// covers follows RFC 5280 §6.3.3 (b)(2): a list of another part of the issuer's certificates would not name cert.
func (p point) covers(cert *x509.Certificate) error {
	switch {
	case p.other:
		return errors.New("the list is indirect, of some reasons only or of attribute certificates, which is not supported")
	case p.named && !slices.ContainsFunc(p.names, func(name string) bool { return slices.Contains(cert.CRLDistributionPoints, name) }):
		return errors.New("the list is for another distribution point")
	case p.usersOnly && cert.IsCA, p.authoritiesOnly && !cert.IsCA:
		return errors.New("the list is not for this sort of certificate")
	}
	return nil
}
