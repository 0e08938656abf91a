package crl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/crl"
)

// authority signs certificates and lists.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string, above *authority, serial int64) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	parent, signer := template, key
	if above != nil {
		parent, signer = above.cert, above.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) list(t *testing.T, until time.Duration, serials ...int64) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(until)}
	for _, serial := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil, 1)
	between := newAuthority(t, "between", root, 2)
	leaf := newAuthority(t, "leaf", between, 3)
	namesake := newAuthority(t, "between", nil, 4) // the same name, another key
	chain := []*x509.Certificate{leaf.cert, between.cert, root.cert}
	for name, test := range map[string]struct {
		lists []byte
		says  string // "": it is good
	}{
		"nothing revoked":             {join(root.list(t, time.Hour), between.list(t, time.Hour)), ""},
		"the leaf":                    {join(root.list(t, time.Hour), between.list(t, time.Hour, 3)), `"CN=leaf" (serial 3) was revoked`},
		"what is between":             {join(root.list(t, time.Hour, 2), between.list(t, time.Hour)), `"CN=between" (serial 2) was revoked`},
		"what is between, no list":    {root.list(t, time.Hour, 2), `"CN=between" (serial 2) was revoked`},
		"a serial of another":         {join(root.list(t, time.Hour, 3), between.list(t, time.Hour, 2)), ""},
		"no list of the root":         {between.list(t, time.Hour), `the-setting has no list of "CN=root"`},
		"no list of what is between":  {root.list(t, time.Hour), `the-setting has no list of "CN=between"`},
		"a list out of date":          {join(root.list(t, time.Hour), between.list(t, -time.Minute)), "out of date"},
		"a list by a namesake":        {join(root.list(t, time.Hour), namesake.list(t, time.Hour)), `no list of "CN=between"`},
		"a namesake's beside the own": {join(root.list(t, time.Hour), namesake.list(t, 2*time.Hour), between.list(t, time.Hour, 3)), "was revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lists, err := crl.Parse(test.lists)
			if err != nil {
				t.Fatal(err)
			}
			err = crl.Check(lists, "the-setting", chain)
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

func join(parts ...[]byte) (all []byte) {
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := crl.Parse(data)
		if err == nil && len(lists) == 0 {
			t.Error("no list and no error")
		}
	})
}
