package enrol

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/secret"
)

// newKey makes a key and a request for its certificate. A name is a wish, and may be empty.
func newKey(name string) (key crypto.Signer, text secret.Bytes, request []byte, err error) {
	if key, text, err = privatekey.New(); err != nil {
		return nil, text, nil, err
	}
	encoded, err := privatekey.Request(key, name)
	if err != nil {
		return nil, text, nil, err
	}
	block, _ := pem.Decode(encoded)
	return key, text, block.Bytes, nil
}

// leafOf reads the certificate that was issued for a key.
func leafOf(issued *enrolv1.Issued, key crypto.Signer) (*x509.Certificate, error) {
	if len(issued.GetChain()) == 0 {
		return nil, errors.New("the control plane issued no certificate")
	}
	leaf, err := x509.ParseCertificate(issued.GetChain()[0])
	if err != nil {
		return nil, fmt.Errorf("reading the certificate that was issued: %w", err)
	}
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the certificate that was issued is for another key than this node's")
	}
	return leaf, nil
}

// leafIn reads the first certificate of a file.
func leafIn(path string) (*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// usable says why what a control plane issued cannot be used: the node that gave it has to be believed under it.
func usable(source *mtls.Source, from tls.ConnectionState, now time.Time) error {
	id := source.Identity()
	if id.Role != identity.DataPlane {
		return fmt.Errorf("it is a certificate of role %s", id.Role)
	}
	if now.After(id.NotAfter) {
		return fmt.Errorf("its certificate ended %s, and the clock here says %s: compare the clocks", stamp(id.NotAfter), stamp(now))
	}
	if err := source.Check(from, identity.ControlPlane); err != nil {
		return fmt.Errorf("under it the control plane node that gave it would be refused: %w", err)
	}
	return nil
}

// merge returns the bundle to hold in place of another, or why the new one is not taken. One without lists does not
// end the checking of revocation; lists never step back.
func merge(held, next *enrolv1.Trust) (*enrolv1.Trust, error) {
	if next.GetSequence() < held.GetSequence() {
		return nil, fmt.Errorf("its sequence %d is lower than %d, which this node holds", next.GetSequence(), held.GetSequence())
	}
	if len(next.GetAuthorities()) == 0 {
		return nil, errors.New("it believes nobody")
	}
	if next.GetSequence() == held.GetSequence() && !sameSet(held.GetAuthorities(), next.GetAuthorities()) {
		return nil, fmt.Errorf("it has the sequence %d of what this node holds, and other authorities", next.GetSequence())
	}
	merged := &enrolv1.Trust{Sequence: next.GetSequence(), Authorities: next.GetAuthorities(), RevocationLists: next.GetRevocationLists()}
	if len(held.GetRevocationLists()) == 0 {
		return merged, nil
	}
	if len(next.GetRevocationLists()) == 0 {
		lists, err := listsFor(next.GetAuthorities(), held.GetRevocationLists())
		merged.RevocationLists = lists
		return merged, err
	}
	return merged, progress(held.GetRevocationLists(), next.GetRevocationLists())
}

func sameSet(a, b [][]byte) bool {
	within := func(a, b [][]byte) bool {
		for _, one := range a {
			if !slices.ContainsFunc(b, func(other []byte) bool { return bytes.Equal(one, other) }) {
				return false
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}

// listsFor picks the list of every authority out of those that are held.
func listsFor(authorities, held [][]byte) (lists [][]byte, err error) {
	for _, der := range authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading an authority: %w", err)
		}
		found := slices.IndexFunc(held, func(der []byte) bool {
			list, err := x509.ParseRevocationList(der)
			return err == nil && list.CheckSignatureFrom(authority) == nil
		})
		if found < 0 {
			return nil, fmt.Errorf("it holds no list of revoked certificates of %q, and this node checks them", authority.Subject)
		}
		lists = append(lists, held[found])
	}
	return lists, nil
}

// progress refuses lists that are older than those held.
func progress(held, next [][]byte) error {
	for _, der := range next {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return fmt.Errorf("reading a list of revoked certificates: %w", err)
		}
		for _, former := range held {
			before, err := x509.ParseRevocationList(former)
			if err != nil || !bytes.Equal(before.RawIssuer, list.RawIssuer) || !bytes.Equal(before.AuthorityKeyId, list.AuthorityKeyId) {
				continue
			}
			if numberOrZero(list).Cmp(numberOrZero(before)) < 0 {
				return fmt.Errorf("the list of %q steps back from number %v to %v", list.Issuer, numberOrZero(before), numberOrZero(list))
			}
		}
	}
	return nil
}

func numberOrZero(list *x509.RevocationList) *big.Int {
	if list.Number == nil {
		return new(big.Int)
	}
	return list.Number
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
