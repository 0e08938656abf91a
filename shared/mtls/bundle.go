package mtls

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Bundle is whom to believe beside the files.
type Bundle struct {
	Authorities []*x509.Certificate    // believed too
	Retired     []*x509.Certificate    // no longer believed, even where the files name them, nor another certificate of their names and keys
	Lists       []*x509.RevocationList // by any of the authorities; of two lists of one authority the newer one counts
}

// Believe replaces what is believed beside the files, at once and as a whole. On error what was believed stays.
func (s *Source) Believe(b Bundle) error {
	const op = "mtls.Believe"
	if s.options.Mode == Shared {
		return fault.Newf(fault.Invalid, op, "bundle", "cluster_mtls = shared knows no authorities")
	}
	for _, ca := range slices.Concat(b.Authorities, b.Retired) {
		if !ca.BasicConstraintsValid || !ca.IsCA {
			return fault.Newf(fault.Invalid, op, "bundle", "%s is not a CA certificate", shown(ca.Subject.String()))
		}
	}
	b = Bundle{slices.Clone(b.Authorities), slices.Clone(b.Retired), slices.Clone(b.Lists)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.digest() == s.bundle.digest() {
		return nil
	}
	old := s.trust.Load()
	next, err := combine(s.files, old.papers, b, &s.options, time.Now())
	if err != nil {
		return fault.New(fault.Invalid, op, "bundle", err)
	}
	s.bundle = b
	s.replace(old, next)
	s.options.Log.Info("the authorities that are believed changed", "authorities", len(next.cas), "retired", len(next.retired))
	return nil
}

func (b Bundle) digest() [sha256.Size]byte {
	h := sha256.New()
	add := func(n int, raw func(int) []byte) {
		_ = binary.Write(h, binary.BigEndian, uint64(n)) // a hash never fails
		for i := range n {
			writePart(h, raw(i))
		}
	}
	add(len(b.Authorities), func(i int) []byte { return b.Authorities[i].Raw })
	add(len(b.Retired), func(i int) []byte { return b.Retired[i].Raw })
	add(len(b.Lists), func(i int) []byte { return b.Lists[i].Raw })
	return [sha256.Size]byte(h.Sum(nil))
}

// Authorities returns the CAs of the CA file, without what was told by Believe.
func (s *Source) Authorities() []*x509.Certificate { return slices.Clone(s.trust.Load().papers.cas) }

// Certificate returns this side's own certificate.
func (s *Source) Certificate() *x509.Certificate { return s.trust.Load().pair.Leaf }

// Revoked says that this side's own certificate was taken back for good, and not replaced or put on hold, by a list that its
// issuer signed: when, and the issuer's name.
func (s *Source) Revoked() (at time.Time, by string, revoked bool) {
	t := s.trust.Load()
	serial := SerialText(t.pair.Leaf.SerialNumber)
	for ca, list := range t.lists {
		at, listed := list.serials[serial]
		if listed && !list.lenient[serial] && bytes.Equal(t.pair.Leaf.RawIssuer, list.rawIssuer) && t.issued(ca) {
			return at, list.name, true
		}
	}
	return time.Time{}, "", false
}

// issued says whether a CA that is believed has issued this side's certificate.
func (t *trust) issued(by issuer) bool {
	return slices.ContainsFunc(t.cas, func(ca *x509.Certificate) bool {
		return issuerOf(ca) == by && t.pair.Leaf.CheckSignatureFrom(ca) == nil
	})
}

// List returns the newest CRL of a CA that is in use, in DER, and whether there is one.
func (s *Source) List(ca *x509.Certificate) (der []byte, found bool) {
	list := s.trust.Load().lists[issuerOf(ca)]
	if list == nil {
		return nil, false
	}
	return slices.Clone(list.raw), true
}

// gatherLists verifies the lists of the files and of the bundle. A CA of the files without a list would make its
// leaves unrevocable without anyone seeing it, so it is refused here. Lists of others are left alone: they may be
// those of an authority that is to be believed next.
func (t *trust) gatherLists(files Files, b Bundle) error {
	if !t.configured && len(b.Lists) == 0 {
		return nil
	}
	t.lists, t.unlisted = make(map[issuer]*revocations), make(map[issuer]struct{})
	var strange error
	for i, list := range t.papers.lists {
		switch ca := signer(list.signed, t.cas); {
		case ca != nil:
			t.keepNewer(ca, list.revocations)
		case signer(list.signed, b.Retired) == nil:
			if strange == nil {
				strange = fmt.Errorf("CRL %d, by %s: not signed by any of the CAs", i+1, shown(list.name))
			}
			t.extra = append(t.extra, fmt.Sprintf("CRL %d of %s, by %s, is not signed by any of the CAs: it is not used", i+1, files.CRL, shown(list.name)))
		}
	}
	for _, parsed := range b.Lists {
		list, err := newList(parsed)
		if err != nil {
			return err
		}
		if ca := signer(list.signed, t.cas); ca != nil {
			t.keepNewer(ca, list.revocations)
		}
	}
	t.fallen = fallenCAs(t.cas, t.lists)
	return t.wantLists(files, strange)
}

func (t *trust) keepNewer(ca *x509.Certificate, list *revocations) {
	of := issuerOf(ca)
	if known := t.lists[of]; known == nil || known.number.Cmp(list.number) < 0 {
		t.lists[of] = list
	}
}

func (t *trust) wantLists(files Files, strange error) error {
	for _, ca := range t.papers.cas {
		of := issuerOf(ca)
		_, retired := t.retired[of]
		switch {
		case t.lists[of] != nil || retired:
		case !t.configured:
			t.unlisted[of] = struct{}{}
		case strange != nil:
			return fmt.Errorf("CRL %s: %w", files.CRL, strange)
		default:
			return fmt.Errorf("CRL %s: CA %s has no CRL in it: append that CA's CRL", files.CRL, shown(ca.Subject.String()))
		}
	}
	return nil
}
