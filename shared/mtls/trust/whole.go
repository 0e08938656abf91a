package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Extensions that narrow what a CRL speaks of (RFC 5280 §5.2.4, §5.2.5).
var (
	deltaIndicator = asn1.ObjectIdentifier{2, 5, 29, 27}
	scopeOfList    = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// CheckBeside refuses a list of ca that no node would take beside the CAs that are believed and the list of ca that is held, if there is
// one.
func CheckBeside(list, held *x509.RevocationList, ca *x509.Certificate, believed []*x509.Certificate) error {
	of, err := scopeOf(list)
	if err == nil && held != nil {
		var other scope
		if other, err = scopeOf(held); err == nil {
			err = of.beside(other)
		}
	}
	if err != nil {
		return err
	}
	return of.speaksOf(ca, believed)
}

// scope is what a list speaks of.
type scope struct {
	users  bool     // it leaves out CAs
	places []string // the names of where it lies, in DER; none: it says nothing of that
}

// beside refuses a list of the same CA that lies elsewhere: a CA may divide what it has revoked among several places (RFC 5280 §5.2.5),
// and of two lists here the one with the higher number counts.
func (s scope) beside(other scope) error {
	if len(s.places) == 0 || len(other.places) == 0 || slices.ContainsFunc(s.places, func(place string) bool { return slices.Contains(other.places, place) }) {
		return nil
	}
	return errors.New("there are lists of it of different places (issuing distribution points): partitioned lists are not taken, one list of all that it issued is needed")
}

// speaksOf refuses a list that leaves out CAs where ca has issued one of those that are believed.
func (s scope) speaksOf(ca *x509.Certificate, believed []*x509.Certificate) error {
	for _, below := range believed {
		if s.users && issuerOf(below) != issuerOf(ca) && below.CheckSignatureFrom(ca) == nil {
			return fmt.Errorf("it leaves out CAs (its issuing distribution point), and %s is one of its CA's: a list of all that its CA issued is needed",
				identity.Quote(below.Subject.String()))
		}
	}
	return nil
}

// scopeOf refuses a list that is silent about certificates of its CA which were revoked: taken for a whole one it would bring them back,
// the more surely since its number is higher than that of the whole one. A list with a critical extension that nobody here knows must
// not be used at all (RFC 5280 §5.2).
func scopeOf(list *x509.RevocationList) (of scope, err error) {
	for _, extension := range list.Extensions {
		switch {
		case extension.Id.Equal(deltaIndicator):
			return scope{}, errors.New("it is a delta CRL, of what changed since another one: the whole list is needed")
		case extension.Id.Equal(scopeOfList):
			if of, err = parseScope(extension.Value); err != nil {
				return scope{}, err
			}
		case extension.Critical:
			return scope{}, fmt.Errorf("it has a critical extension (%v) that is not known here: a list without it is needed", extension.Id)
		}
	}
	return of, nil
}

// parseScope admits a list that names the place where it lies, or that it leaves out CAs. It speaks of all others then.
func parseScope(value []byte) (scope, error) {
	var point struct {
		Place      asn1.RawValue  `asn1:"optional,tag:0"`
		Users      bool           `asn1:"optional,tag:1"`
		CAs        bool           `asn1:"optional,tag:2"`
		Reasons    asn1.BitString `asn1:"optional,tag:3"`
		Indirect   bool           `asn1:"optional,tag:4"`
		Attributes bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(value, &point)
	switch {
	case err != nil || len(rest) > 0:
		return scope{}, errScope
	case point.CAs, point.Attributes, point.Indirect, point.Reasons.BitLength > 0:
		return scope{}, errors.New("it speaks of some certificates alone, or of other CAs' (its issuing distribution point): a list of all that its CA issued is needed")
	}
	places, err := placesOf(point.Place.Bytes)
	return scope{point.Users, places}, err
}

var errScope = errors.New("what it speaks of (its issuing distribution point) cannot be read")

// placesOf reads the names of a place: several for the same one, or one that is relative to the CA's.
func placesOf(der []byte) (places []string, err error) {
	const fullName = 0
	var names, name asn1.RawValue
	if len(der) == 0 {
		return nil, nil
	}
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 {
		return nil, errScope
	}
	if names.Tag != fullName {
		return []string{string(der)}, nil
	}
	for rest := names.Bytes; len(rest) > 0; places = append(places, string(name.FullBytes)) {
		name = asn1.RawValue{}
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errScope
		}
	}
	return places, nil
}
