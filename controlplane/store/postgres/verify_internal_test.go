package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

func TestVerifyServerName(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	sign := func(template *x509.Certificate) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, root, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	roots := x509.NewCertPool()
	roots.AddCert(sign(root))
	tests := map[string]struct {
		name string
		cn   string
		dns  []string
		ips  []net.IP
		good bool
	}{
		"alternative name":               {name: "db.example", cn: "x", dns: []string{"db.example"}, good: true},
		"alternative address":            {name: "127.0.0.1", cn: "x", ips: []net.IP{net.IPv4(127, 0, 0, 1)}, good: true},
		"common name":                    {name: "db.example", cn: "DB.example", good: true},
		"another common name":            {name: "db.example", cn: "evil.example"},
		"another address":                {name: "127.0.0.2", cn: "x", ips: []net.IP{net.IPv4(127, 0, 0, 1)}},
		"an unknown host":                {cn: ""},
		"no name":                        {name: "db.example"},
		"common name beside another SAN": {name: "db.example", cn: "db.example", dns: []string{"evil.example"}},
		"common name beside an address":  {name: "db.example", cn: "db.example", ips: []net.IP{net.IPv4(127, 0, 0, 1)}},
	}
	for name, test := range tests {
		leaf := sign(&x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: test.cn}, DNSNames: test.dns, IPAddresses: test.ips,
			NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		})
		shown := []*x509.Certificate{leaf}
		if err := verify(shown, test.name, roots, 0); (err == nil) != test.good {
			t.Errorf("%s: verify = %v, want it good: %v", name, err, test.good)
		}
		if err := verify(shown, test.name, x509.NewCertPool(), 0); err == nil {
			t.Errorf("%s: good under no authority", name)
		}
	}
}
