package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Extensions that narrow what a CRL speaks of (RFC 5280 §5.2.4, §5.2.5).
var (
	deltaIndicator = asn1.ObjectIdentifier{2, 5, 29, 27}
	scopeOfList    = asn1.ObjectIdentifier{2, 5, 29, 28}
)

// CheckWhole refuses a list that is silent about certificates of its CA which were revoked: taken for a whole one it would bring them back,
// the more surely since its number is higher than that of the whole one. A list with a critical extension that nobody here knows must
// not be used at all (RFC 5280 §5.2).
func CheckWhole(list *x509.RevocationList) error {
	for _, extension := range list.Extensions {
		switch {
		case extension.Id.Equal(deltaIndicator):
			return errors.New("it is a delta CRL, of what changed since another one: the whole list is needed")
		case extension.Id.Equal(scopeOfList):
			if err := ofUsers(extension.Value); err != nil {
				return err
			}
		case extension.Critical:
			return fmt.Errorf("it has a critical extension (%v) that is not known here: a list without it is needed", extension.Id)
		}
	}
	return nil
}

// ofUsers admits a list that names the place where it lies, or that it leaves out CAs. It speaks of all others then.
func ofUsers(value []byte) error {
	var scope struct {
		Place      asn1.RawValue  `asn1:"optional,tag:0"`
		Users      bool           `asn1:"optional,tag:1"`
		CAs        bool           `asn1:"optional,tag:2"`
		Reasons    asn1.BitString `asn1:"optional,tag:3"`
		Indirect   bool           `asn1:"optional,tag:4"`
		Attributes bool           `asn1:"optional,tag:5"`
	}
	rest, err := asn1.Unmarshal(value, &scope)
	switch {
	case err != nil || len(rest) > 0:
		return errors.New("what it speaks of (its issuing distribution point) cannot be read")
	case scope.CAs, scope.Attributes, scope.Indirect, scope.Reasons.BitLength > 0:
		return errors.New("it speaks of some certificates alone, or of other CAs' (its issuing distribution point): a list of all that its CA issued is needed")
	}
	return nil
}
