package serverchain_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// issuer is an authority at some height.
type issuer struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// sign makes a certificate below by; by nil makes it its own authority.
func sign(t *testing.T, by *issuer, template x509.Certificate) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{made, key}
}

func authority(t *testing.T, by *issuer, name string) *issuer {
	t.Helper()
	return sign(t, by, x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true})
}

func pool(certs ...*issuer) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c.Certificate)
	}
	return p
}

func TestHost(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	local := net.IPv4(127, 0, 0, 1)
	tests := map[string]struct {
		host, or string
		leaf     x509.Certificate
		refused  string // a part of the error; "": it is good
	}{
		"alternative name":              {host: "db.example", leaf: x509.Certificate{DNSNames: []string{"db.example"}, Subject: pkix.Name{CommonName: "x"}}},
		"alternative name, other case":  {host: "DB.example", leaf: x509.Certificate{DNSNames: []string{"db.EXAMPLE"}}},
		"alternative address":           {host: "127.0.0.1", leaf: x509.Certificate{IPAddresses: []net.IP{local}}},
		"alternative IPv6 address":      {host: "::1", leaf: x509.Certificate{IPAddresses: []net.IP{net.IPv6loopback}}},
		"wildcard":                      {host: "a.db.example", leaf: x509.Certificate{DNSNames: []string{"*.db.example"}}},
		"wildcard for two labels":       {host: "a.b.db.example", leaf: x509.Certificate{DNSNames: []string{"*.db.example"}}, refused: `is for "*.db.example" and not for "a.b.db.example"`},
		"wildcard for no label":         {host: "db.example", leaf: x509.Certificate{DNSNames: []string{"*.db.example"}}, refused: "not for"},
		"address as a name":             {host: "127.0.0.1", leaf: x509.Certificate{DNSNames: []string{"127.0.0.1"}}, refused: "not for"},
		"the other one":                 {host: "db.example", or: "127.0.0.1", leaf: x509.Certificate{IPAddresses: []net.IP{local}}},
		"neither":                       {host: "db.example", or: "127.0.0.2", leaf: x509.Certificate{IPAddresses: []net.IP{local}}, refused: `is for "127.0.0.1" and not for "db.example" or "127.0.0.2"`},
		"common name":                   {host: "db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "DB.example"}}},
		"common name with wildcard":     {host: "a.db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "*.db.example"}}},
		"common name is the address":    {host: "127.0.0.1", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "127.0.0.1"}}},
		"common name is no address":     {host: "127.0.0.1", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "*.0.0.1"}}, refused: "not for"},
		"another common name":           {host: "db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "evil.example"}}, refused: `is for "evil.example" (its common name; it has no subjectAltName) and not for "db.example"`},
		"another address":               {host: "127.0.0.2", leaf: x509.Certificate{IPAddresses: []net.IP{local}}, refused: `is for "127.0.0.1"`},
		"an unknown host":               {leaf: x509.Certificate{DNSNames: []string{"db.example"}}, refused: "it is not known which name"},
		"no name":                       {host: "db.example", leaf: x509.Certificate{}, refused: "for no name at all"},
		"common name beside another":    {host: "db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "db.example"}, DNSNames: []string{"evil.example"}}, refused: `is for "evil.example"`},
		"common name beside an address": {host: "db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "db.example"}, IPAddresses: []net.IP{local}}, refused: `is for "127.0.0.1"`},
		"common name beside a mail":     {host: "db.example", leaf: x509.Certificate{Subject: pkix.Name{CommonName: "db.example"}, EmailAddresses: []string{"a@db.example"}}, refused: "without a host name or address"},
		"for clients only":              {host: "db.example", leaf: x509.Certificate{DNSNames: []string{"db.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, refused: "not for servers"},
		"expired": {
			host: "db.example", leaf: x509.Certificate{DNSNames: []string{"db.example"}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(11e8, 0)},
			refused: "the server's certificate is valid from 2001-09-09T01:46:40Z to 2004-11-09T11:33:20Z",
		},
		"not yet": {
			host: "db.example", leaf: x509.Certificate{DNSNames: []string{"db.example"}, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour)},
			refused: "the server's certificate is valid from",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shown := []*x509.Certificate{sign(t, root, test.leaf).Certificate}
			demand := serverchain.Demand{Host: test.host, Or: test.or, Roots: pool(root)}
			err := serverchain.Verify(shown, demand)
			if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("Verify = %v, want %q", err, test.refused)
			}
			demand.Roots = pool(authority(t, nil, "another root"))
			if err := serverchain.Verify(shown, demand); err == nil {
				t.Error("good under another authority")
			}
		})
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	upper := authority(t, root, "upper")
	lower := authority(t, upper, "lower")
	leaf := sign(t, lower, x509.Certificate{DNSNames: []string{"a.test"}})
	own := sign(t, nil, x509.Certificate{DNSNames: []string{"a.test"}})
	tests := map[string]struct {
		shown   []*issuer
		roots   *x509.CertPool
		depth   int
		refused string
	}{
		"two at most, two":         {shown: []*issuer{leaf, lower, upper}, roots: pool(root), depth: 2},
		"one at most, two":         {shown: []*issuer{leaf, lower, upper}, roots: pool(root), depth: 1, refused: "has 2 intermediate certificates and tls_verify_depth allows 1"},
		"none, two":                {shown: []*issuer{leaf, lower, upper}, roots: pool(root), depth: 0, refused: "allows 0"},
		"any":                      {shown: []*issuer{leaf, lower, upper}, roots: pool(root), depth: -1},
		"trusted in the middle":    {shown: []*issuer{leaf, lower, upper}, roots: pool(root, upper), depth: 1},
		"trusted at the end":       {shown: []*issuer{leaf, lower, upper, root}, roots: pool(lower), depth: 0},
		"itself trusted":           {shown: []*issuer{own}, roots: pool(own), depth: 0},
		"an intermediate missing":  {shown: []*issuer{leaf, lower}, roots: pool(root), depth: 9, refused: `issued by nobody who is trusted (the chain ends at issuer "upper")`},
		"its own, and not trusted": {shown: []*issuer{own}, roots: pool(root), depth: 9, refused: "issued by nobody who is trusted"},
		"nothing shown":            {roots: pool(root), refused: "showed no certificate"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var shown []*x509.Certificate
			for _, c := range test.shown {
				shown = append(shown, c.Certificate)
			}
			err := serverchain.Verify(shown, serverchain.Demand{Host: "a.test", Roots: test.roots, Depth: test.depth, DepthName: "tls_verify_depth"})
			if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("Verify = %v, want %q", err, test.refused)
			}
		})
	}
}

// An authority for some names must not reach others by way of the common name, which Go does not hold to its limits.
func TestLimitedAuthorityVouchesForNoCommonName(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	limited := sign(t, root, x509.Certificate{
		Subject: pkix.Name{CommonName: "limited"}, IsCA: true, BasicConstraintsValid: true,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"good.test"},
	})
	for name, test := range map[string]struct {
		leaf x509.Certificate
		good bool
	}{
		"its name":              {x509.Certificate{DNSNames: []string{"a.good.test"}}, true},
		"another name":          {x509.Certificate{DNSNames: []string{"a.evil.test"}}, false},
		"another common name":   {x509.Certificate{Subject: pkix.Name{CommonName: "a.evil.test"}}, false},
		"its name as a CN only": {x509.Certificate{Subject: pkix.Name{CommonName: "a.good.test"}}, false},
	} {
		leaf := sign(t, limited, test.leaf)
		host := "a.good.test"
		if strings.Contains(name, "another") {
			host = "a.evil.test"
		}
		err := serverchain.Verify([]*x509.Certificate{leaf.Certificate, limited.Certificate}, serverchain.Demand{Host: host, Roots: pool(root), Depth: 1})
		if (err == nil) != test.good {
			t.Errorf("%s: Verify = %v, want it good: %t", name, err, test.good)
		}
	}
}

// What a server writes into its certificate reaches logs: quoted, and not endless.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	var names []string
	for range 1000 {
		names = append(names, strings.Repeat("x", 200))
	}
	for _, leaf := range []x509.Certificate{{DNSNames: names}, {Subject: pkix.Name{CommonName: "a\n" + strings.Repeat("y", 5000)}}} {
		err := serverchain.Verify([]*x509.Certificate{sign(t, root, leaf).Certificate}, serverchain.Demand{Host: "a.test", Roots: pool(root)})
		if err == nil || len(err.Error()) > 1500 || strings.Contains(err.Error(), "\n") {
			t.Errorf("Verify = %v", err)
		}
	}
}
