package mtls_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// listOf makes a CRL with a serial that is there for a reason (RFC 5280 §5.3.1).
func listOf(t *testing.T, ca *mtlstest.CA, serial *big.Int, reason int) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(2), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: serial, RevocationTime: time.Unix(1_700_000_000, 0), ReasonCode: reason}},
	}, ca.Cert, ca.Key())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func TestTheOwnCertificateIsListed(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	const superseded, hold, compromised = 4, 6, 1
	pair := ca.Issue(t, mtlstest.Leaf{})
	own := pair.Cert.SerialNumber
	tests := map[string]struct {
		lists   []byte
		trusts  *mtlstest.CA // too
		revoked bool
	}{
		"nothing":                          {lists: ca.CRL(t, 2, time.Now().Add(time.Hour))},
		"itself":                           {lists: listOf(t, ca, own, 0), revoked: true},
		"itself, replaced":                 {lists: listOf(t, ca, own, superseded)},
		"itself, stolen":                   {lists: listOf(t, ca, own, compromised), revoked: true},
		"itself, on hold":                  {lists: listOf(t, ca, own, hold)},
		"another":                          {lists: listOf(t, ca, new(big.Int).Add(own, big.NewInt(1)), 0)},
		"its serial, by another CA":        {lists: append(ca.CRL(t, 2, time.Now().Add(time.Hour)), listOf(t, other, own, 0)...), trusts: other},
		"its serial, by nobody who counts": {lists: append(ca.CRL(t, 2, time.Now().Add(time.Hour)), listOf(t, other, own, 0)...)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := ca.Files(t, pair)
			write(t, files.CRL, test.lists)
			if test.trusts != nil {
				held, err := os.ReadFile(files.CA)
				if err != nil {
					t.Fatal(err)
				}
				write(t, files.CA, append(held, test.trusts.PEM...))
			}
			source, err := mtls.Open(files)
			if err != nil {
				t.Fatal(err)
			}
			at, by, revoked := source.Revoked()
			if revoked != test.revoked || revoked && (!at.Equal(time.Unix(1_700_000_000, 0)) || by == "") {
				t.Errorf("Revoked = %v, %q, %v; want %v", at, by, revoked, test.revoked)
			}
		})
	}
}
