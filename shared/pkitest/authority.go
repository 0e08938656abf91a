// Package pkitest makes authorities and certificates for tests, and serves what they revoke.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync/atomic"
	"testing"
	"time"
)

// Pair is a certificate, its key, and the certificates that lead from it to a root, without the root.
type Pair struct {
	Cert    *x509.Certificate
	Key     crypto.Signer
	Between []*x509.Certificate
}

// Authority is a Pair that issues others.
type Authority struct {
	Pair
	t    testing.TB
	made *atomic.Int64 // serial numbers, of all that descend from one root
}

// Edit changes a certificate before it is signed.
type Edit func(template *x509.Certificate)

// Root makes an authority that signs itself.
func Root(t testing.TB, name string, edits ...Edit) *Authority {
	t.Helper()
	a := &Authority{t: t, made: new(atomic.Int64)}
	a.Key = ECDSA(t)
	a.Cert = a.sign(a.template(name, true, edits), a.Key.Public())
	return a
}

// Below makes an authority that a has issued.
func (a *Authority) Below(name string, edits ...Edit) *Authority {
	a.t.Helper()
	return &Authority{Pair: a.issue(name, ECDSA(a.t), true, edits), t: a.t, made: a.made}
}

// Again makes another certificate for the name and key of an authority, signed by a.
func (a *Authority) Again(of *Authority, edits ...Edit) *Authority {
	a.t.Helper()
	return &Authority{Pair: a.issue(of.Cert.Subject.CommonName, of.Key, true, edits), t: a.t, made: a.made}
}

// Issue makes a certificate for clients.
func (a *Authority) Issue(name string, edits ...Edit) Pair {
	a.t.Helper()
	return a.issue(name, ECDSA(a.t), false, edits)
}

// IssueFor makes a certificate for a key.
func (a *Authority) IssueFor(key crypto.Signer, name string, edits ...Edit) Pair {
	a.t.Helper()
	return a.issue(name, key, false, edits)
}

func (a *Authority) issue(name string, key crypto.Signer, authority bool, edits []Edit) Pair {
	a.t.Helper()
	p := Pair{Cert: a.sign(a.template(name, authority, edits), key.Public()), Key: key}
	if a.Cert.CheckSignatureFrom(a.Cert) != nil { // a root is not sent
		p.Between = append([]*x509.Certificate{a.Cert}, a.Between...)
	}
	return p
}

func (a *Authority) template(name string, authority bool, edits []Edit) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1000 + a.made.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if authority {
		template.IsCA, template.BasicConstraintsValid, template.ExtKeyUsage = true, true, nil
		template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	for _, edit := range edits {
		edit(template)
	}
	return template
}

func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	parent := a.Cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made
}

// PEM is the certificate alone.
func (p *Pair) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw}))
}

// TLS is what a client sends and proves.
func (p *Pair) TLS() tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}
	for _, between := range p.Between {
		c.Certificate = append(c.Certificate, between.Raw)
	}
	return c
}

// Sent are the certificates as a server has them after a handshake.
func (p *Pair) Sent() []*x509.Certificate {
	return append([]*x509.Certificate{p.Cert}, p.Between...)
}

// ECDSA, RSA and Ed25519 make keys.
func ECDSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func RSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func Ed25519(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
