package trust

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Bundle is whom to believe beside the files.
type Bundle struct {
	Authorities []*x509.Certificate    // believed too
	Retired     []*x509.Certificate    // no longer believed, even where the files name them, nor another certificate of their names and keys
	Lists       []*x509.RevocationList // by any of the authorities; of two lists of one authority the newer one counts
}

// Equal says that both name the same.
func (b Bundle) Equal(other Bundle) bool {
	return slices.EqualFunc(b.Authorities, other.Authorities, (*x509.Certificate).Equal) &&
		slices.EqualFunc(b.Retired, other.Retired, (*x509.Certificate).Equal) &&
		slices.EqualFunc(b.Lists, other.Lists, func(a, b *x509.RevocationList) bool { return bytes.Equal(a.Raw, b.Raw) })
}

// Clone returns a bundle whose slices are its own.
func (b Bundle) Clone() Bundle {
	return Bundle{slices.Clone(b.Authorities), slices.Clone(b.Retired), slices.Clone(b.Lists)}
}

// Check says what of it cannot be believed by anybody.
func (b Bundle) Check() error {
	for _, ca := range slices.Concat(b.Authorities, b.Retired) {
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return fmt.Errorf("%s is not a CA certificate", identity.Quote(ca.Subject.String()))
		}
	}
	return nil
}

// gatherLists verifies the lists of the files and of the bundle. A CA of the files without a list would make its
// leaves unrevocable without anyone seeing it, so it is refused here. Lists of others are left alone: they may be
// those of an authority that is to be believed next.
func (t *Trust) gatherLists(b Bundle) error {
	if !t.given.Listed && len(b.Lists) == 0 {
		return nil
	}
	t.lists, t.unlisted = make(map[issuer]*revocations), make(map[issuer]struct{})
	var strange error
	for i, list := range t.given.Lists {
		switch ca := signer(list.signed, t.cas); {
		case ca != nil:
			if err := t.keepNewer(ca, list.revocations); err != nil {
				return fmt.Errorf("CRL %s: %w", t.given.CRLFile, err)
			}
		case signer(list.signed, b.Retired) == nil:
			if strange == nil {
				strange = fmt.Errorf("CRL %d, by %s: not signed by any of the CAs", i+1, identity.Quote(list.name))
			}
			t.extra = append(t.extra, fmt.Sprintf("CRL %d of %s, by %s, is not signed by any of the CAs: it is not used", i+1, t.given.CRLFile, identity.Quote(list.name)))
		}
	}
	for _, parsed := range b.Lists {
		list, err := newList(parsed)
		if err != nil {
			return err
		}
		if ca := signer(list.signed, t.cas); ca != nil {
			if err := t.keepNewer(ca, list.revocations); err != nil {
				return err
			}
		}
	}
	for _, ca := range t.cas {
		if list := t.lists[issuerOf(ca)]; list != nil {
			if err := list.scope.speaksOf(ca, t.cas); err != nil {
				return fmt.Errorf("CRL by %s: %w", identity.Quote(list.name), err)
			}
		}
	}
	t.fallen = fallenCAs(t.cas, t.lists)
	return t.wantLists(strange)
}

func (t *Trust) keepNewer(ca *x509.Certificate, list *revocations) error {
	of := issuerOf(ca)
	known := t.lists[of]
	if known != nil {
		if err := list.scope.beside(known.scope); err != nil {
			return fmt.Errorf("by %s: %w", identity.Quote(list.name), err)
		}
	}
	if known == nil || known.number.Cmp(list.number) < 0 {
		t.lists[of] = list
	}
	return nil
}

func (t *Trust) wantLists(strange error) error {
	for _, ca := range t.given.CAs {
		of := issuerOf(ca)
		_, retired := t.retired[of]
		switch {
		case t.lists[of] != nil || retired:
		case !t.given.Listed:
			t.unlisted[of] = struct{}{}
		case strange != nil:
			return fmt.Errorf("CRL %s: %w", t.given.CRLFile, strange)
		default:
			return fmt.Errorf("CRL %s: CA %s has no CRL in it: append that CA's CRL", t.given.CRLFile, identity.Quote(ca.Subject.String()))
		}
	}
	return nil
}
