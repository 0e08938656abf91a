package revocation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// maxUndated is how old an answer may be that does not say when the next one comes: there would always be a
// newer one, so an old one is a replay.
const maxUndated = time.Hour

// askResponder asks by POST: an answer to GET may be an old one out of somebody's cache.
func (s *source) askResponder(ctx context.Context, url string) (*answer, error) {
	request, err := ocsp.CreateRequest(s.cert, s.issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	data, err := s.room.web.get(ctx, s.settings, url, request, maxResponseBytes)
	if err != nil {
		return nil, err
	}
	return readResponse(data, s.cert, s.issuer, s.settings.Refresh, time.Now())
}

var errNotKnown = errors.New("the responder does not know the certificate")

// readResponse reads an OCSP response and accepts it when it is about cert, of this time and signed by the issuer
// or by whom the issuer has charged with it. lifetime is for responses that do not say when the next one comes.
func readResponse(data []byte, cert, issuer *x509.Certificate, lifetime time.Duration, now time.Time) (*answer, error) {
	// Without an issuer it verifies only against the certificate in the response: who may sign is decided below.
	r, err := ocsp.ParseResponseForCert(data, cert, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	if err := signedFor(r, issuer, now); err != nil {
		return nil, err
	}
	if err := about(r, cert, issuer); err != nil {
		return nil, err
	}
	until := r.NextUpdate
	if until.IsZero() {
		until = now.Add(lifetime)
		if now.Sub(r.ThisUpdate) > maxUndated {
			return nil, errors.New("the answer is out of date")
		}
	}
	if err := inTime(r.ThisUpdate, until, now); err != nil {
		return nil, err
	}
	if r.Status == ocsp.Unknown {
		return nil, errNotKnown
	}
	return &answer{this: r.ThisUpdate, until: until, good: r.Status == ocsp.Good}, nil
}

// signedFor follows RFC 6960 §4.2.2.2: the issuer itself, or a certificate that it has issued for this purpose.
func signedFor(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	if weak(r.SignatureAlgorithm) {
		return errWeak
	}
	signer := r.Certificate
	if signer == nil || bytes.Equal(signer.Raw, issuer.Raw) {
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("the response's signature: %w", err)
		}
		return nil
	}
	switch {
	case !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the response is signed by a certificate that is not for signing responses")
	case !bytes.Equal(signer.RawIssuer, issuer.RawSubject), weak(signer.SignatureAlgorithm):
		return errors.New("the response is signed by a certificate of another issuer")
	case now.Before(signer.NotBefore), now.After(signer.NotAfter):
		return errors.New("the response is signed by a certificate that is out of date")
	}
	if err := signer.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the responder's certificate: %w", err)
	}
	return nil
}

var errAbout = errors.New("the response is about other certificates")

// about demands that exactly one part of a response has cert's serial number, and that it names its issuer too.
func about(r *ocsp.Response, cert, issuer *x509.Certificate) error {
	parts, err := parts(r.TBSResponseData)
	if err != nil {
		return err
	}
	parts = slices.DeleteFunc(parts, func(p part) bool { return !bytes.Equal(p.serial, cert.SerialNumber.Bytes()) })
	key, err := subjectKey(issuer)
	if err != nil {
		return err
	}
	if len(parts) != 1 || !bytes.Equal(parts[0].name, digest(r.IssuerHash, issuer.RawSubject)) || !bytes.Equal(parts[0].key, digest(r.IssuerHash, key)) {
		return errAbout
	}
	return nil
}

func digest(by crypto.Hash, data []byte) []byte {
	if !by.Available() {
		return nil
	}
	sum := by.New()
	sum.Write(data)
	return sum.Sum(nil)
}

// part is the CertID of one part of a response, RFC 6960 §4.1.1.
type part struct{ name, key, serial []byte }

var errParts = errors.New("the response cannot be read")

// parts reads ResponseData, RFC 6960 §4.2.1.
func parts(der []byte) (list []part, err error) {
	input := cryptobyte.String(der)
	var data, responses cryptobyte.String
	if !input.ReadASN1(&data, cbasn1.SEQUENCE) ||
		!data.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) || // version
		!skipAny(&data) || !skipAny(&data) || // responder, time
		!data.ReadASN1(&responses, cbasn1.SEQUENCE) {
		return nil, errParts
	}
	for !responses.Empty() {
		var single, id, name, key, number cryptobyte.String
		if !responses.ReadASN1(&single, cbasn1.SEQUENCE) || !single.ReadASN1(&id, cbasn1.SEQUENCE) ||
			!skipAny(&id) || // algorithm
			!id.ReadASN1(&name, cbasn1.OCTET_STRING) || !id.ReadASN1(&key, cbasn1.OCTET_STRING) || !id.ReadASN1(&number, cbasn1.INTEGER) {
			return nil, errParts
		}
		list = append(list, part{name, key, bytes.TrimLeft(number, "\x00")})
	}
	return list, nil
}

func skipAny(s *cryptobyte.String) bool {
	var ignored cryptobyte.String
	var tag cbasn1.Tag
	return s.ReadAnyASN1Element(&ignored, &tag)
}

// subjectKey returns the bits of a certificate's public key, without tag, length and the count of unused bits.
func subjectKey(cert *x509.Certificate) ([]byte, error) {
	input := cryptobyte.String(cert.RawSubjectPublicKeyInfo)
	var info cryptobyte.String
	var key []byte
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !skipAny(&info) || !info.ReadASN1BitStringAsBytes(&key) {
		return nil, errors.New("the issuer's key cannot be read")
	}
	return key, nil
}
