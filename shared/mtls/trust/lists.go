package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// issuer names a CA by its name and key: a new key under an old name is another CA.
type issuer [sha256.Size]byte

func issuerOf(ca *x509.Certificate) issuer {
	h := sha256.New()
	h.Write(ca.RawSubject) // a DER SEQUENCE carries its length: the two cannot shift into each other
	h.Write(ca.RawSubjectPublicKeyInfo)
	return issuer(h.Sum(nil))
}

// revocations is what one CRL says.
type revocations struct {
	raw        []byte
	name       string
	rawIssuer  []byte
	number     *big.Int
	thisUpdate time.Time
	nextUpdate time.Time
	scope      scope
	serials    map[string]time.Time // by SerialText: revoked when
	lenient    map[string]bool      // those of them whose holder is not shut out for good
}

// List is a CRL that was read; who signed it is to be seen. Its entries are in the revocations alone.
type List struct {
	*revocations
	signed *x509.RevocationList
}

// ParseLists reads CRLs: PEM blocks, or the DER of a single one.
func ParseLists(data []byte) ([]*List, error) {
	encoded, err := splitCRLs(data)
	if err != nil {
		return nil, err
	}
	lists := make([]*List, len(encoded))
	for i, der := range encoded {
		parsed, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("CRL %d: %w", i+1, err)
		}
		if lists[i], err = newList(parsed); err != nil {
			return nil, fmt.Errorf("CRL %d, %w", i+1, err)
		}
	}
	return lists, nil
}

func newList(parsed *x509.RevocationList) (*List, error) {
	if parsed.Number == nil {
		return nil, fmt.Errorf("by %s: it has no number", identity.Quote(parsed.Issuer.String()))
	}
	of, err := scopeOf(parsed)
	if err != nil {
		return nil, fmt.Errorf("by %s: %w", identity.Quote(parsed.Issuer.String()), err)
	}
	signed := *parsed
	signed.RevokedCertificateEntries = nil
	return &List{newRevocations(parsed, of), &signed}, nil
}

// splitCRLs takes PEM blocks, or the DER of a single CRL, as many CAs publish it.
func splitCRLs(data []byte) (encoded [][]byte, err error) {
	const sequence = 0x30 // the first byte of any CRL in DER, and of no PEM file
	if len(data) > 0 && data[0] == sequence {
		return [][]byte{data}, nil
	}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("PEM block %d is a %s, not an X509 CRL", len(encoded)+1, identity.Quote(block.Type))
		}
		encoded = append(encoded, block.Bytes)
	}
	if len(encoded) == 0 {
		return nil, errors.New("there is no X509 CRL in it")
	}
	return encoded, nil
}

func signer(list *x509.RevocationList, cas []*x509.Certificate) *x509.Certificate {
	for _, ca := range cas {
		if list.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

func newRevocations(list *x509.RevocationList, of scope) *revocations {
	r := &revocations{
		raw: list.Raw, name: list.Issuer.String(), rawIssuer: list.RawIssuer, number: list.Number,
		thisUpdate: list.ThisUpdate, nextUpdate: list.NextUpdate, scope: of,
		serials: make(map[string]time.Time, len(list.RevokedCertificateEntries)), lenient: map[string]bool{},
	}
	for _, entry := range list.RevokedCertificateEntries {
		serial := identity.SerialText(entry.SerialNumber)
		r.serials[serial] = entry.RevocationTime
		if entry.ReasonCode == certificateHold || entry.ReasonCode == superseded {
			r.lenient[serial] = true
		}
	}
	return r
}

// Reasons that say nothing against whoever has the certificate (RFC 5280 §5.3.1): another one has taken its place, or it may
// come back.
const (
	superseded      = 4
	certificateHold = 6
)

func (r *revocations) stale(now time.Time) bool {
	return !r.nextUpdate.IsZero() && now.After(r.nextUpdate)
}

// fallenCAs finds the CAs of the CA file that another CA of the file has revoked.
func fallenCAs(cas []*x509.Certificate, lists map[issuer]*revocations) map[issuer]time.Time {
	fallen := make(map[issuer]time.Time)
	for _, ca := range cas {
		for _, above := range cas {
			list := lists[issuerOf(above)]
			if list == nil || ca.Equal(above) {
				continue
			}
			if at, revoked := list.serials[identity.SerialText(ca.SerialNumber)]; revoked && ca.CheckSignatureFrom(above) == nil {
				fallen[issuerOf(ca)] = at
			}
		}
	}
	return fallen
}

// checkRevocation looks up every certificate of a verified chain with its issuer; the trust anchor, which
// has none in the chain, among the CAs that fell.
func (t *Trust) checkRevocation(chain []*x509.Certificate) error {
	if t.lists == nil {
		return nil
	}
	anchor := chain[len(chain)-1]
	if at, fell := t.fallen[issuerOf(anchor)]; fell {
		return verdict.Refuse(verdict.Revoked, chain[0], "its CA %s was revoked %s", identity.Quote(anchor.Subject.String()), verdict.Stamp(at))
	}
	for i, cert := range slices.Backward(chain[:len(chain)-1]) { // from above: of a CA that was revoked no list is wanted
		list := t.lists[issuerOf(chain[i+1])]
		if list == nil {
			if t.doesWithout(chain, i) {
				continue
			}
			return verdict.Refuse(verdict.RevocationUnknown, chain[0],
				"there is no CRL of its issuer %s: add that CA to the CA file and its CRL to the CRL file", identity.Quote(cert.Issuer.String()))
		}
		if list.scope.users && cert.IsCA {
			return verdict.Refuse(verdict.RevocationUnknown, chain[0],
				"the CRL of its issuer %s leaves out CAs (its issuing distribution point), as %s is one: a list of all that it issued is needed",
				identity.Quote(cert.Issuer.String()), identity.Quote(cert.Subject.String()))
		}
		if at, revoked := list.serials[identity.SerialText(cert.SerialNumber)]; revoked {
			return verdict.Refuse(verdict.Revoked, chain[0], "serial %s was revoked %s", identity.SerialText(cert.SerialNumber), verdict.Stamp(at))
		}
	}
	return nil
}

// doesWithout says that the issuer of chain[i] needs no list: the files name none for it; it issues to data planes
// alone, and what became of those is the registry's to know; or it is the next CA of the cluster, which a node that
// was away has to take by the signature of the one before.
func (t *Trust) doesWithout(chain []*x509.Certificate, i int) bool {
	issuer := chain[i+1]
	if _, unlisted := t.unlisted[issuerOf(issuer)]; unlisted {
		return true
	}
	between := i == 0 && len(chain) > 2
	return between && (identity.DataPlanesAlone(issuer) || t.rules.CrossSigned)
}

// CheckProgress refuses lists that are older than those in use: putting back an old file must not bring
// revoked nodes back.
func (t *Trust) CheckProgress(old *Trust) error {
	for ca, list := range t.lists {
		if before := old.lists[ca]; before != nil && before.number.Cmp(list.number) > 0 {
			return fmt.Errorf("CRL by %s: number %v is older than %v, which is in use", identity.Quote(list.name), list.number, before.number)
		}
	}
	return nil
}

// List returns the newest CRL of a CA that is in use, in DER, and whether there is one.
func (t *Trust) List(ca *x509.Certificate) (der []byte, found bool) {
	list := t.lists[issuerOf(ca)]
	if list == nil {
		return nil, false
	}
	return slices.Clone(list.raw), true
}
