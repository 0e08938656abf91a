package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// found makes the keys and certificates of a new CA, of two where one is to stand below the other.
func (a *Authority) found(options Options, now time.Time) (err error) {
	if !options.Intermediate {
		a.cert, a.key, err = a.authority(keyFile, options.Name, options.Valid, now, nil, nil)
		return err
	}
	root, rootSigner, err := a.authority(rootKey, options.RootName, options.Valid, now, nil, nil)
	if err != nil {
		return err
	}
	a.root = root
	if a.cert, a.key, err = a.authority(keyFile, options.Name, options.Valid, now, root, rootSigner); err != nil {
		return err
	}
	// The root's list has to last as long as the root: its key is to be put away.
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-backdated), NextUpdate: root.NotAfter,
	}, root, rootSigner)
	if err != nil {
		return fmt.Errorf("signing the root's CRL: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(a.dir, crlFile), 0o644, encode("X509 CRL", list)); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(a.dir, rootFile), 0o644, encode("CERTIFICATE", root.Raw))
}

// authority makes one CA below another, or a root.
func (a *Authority) authority(file, name string, valid time.Duration, now time.Time, above *x509.Certificate, signer crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, keyPEM, err := privatekey.New()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{Organization: []string{a.index.Organisation}, CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(valid), IsCA: true, BasicConstraintsValid: true, MaxPathLen: 1, // leaves, and authorities that sign leaves (edge.go, cross.go)
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if file == rootKey {
		template.MaxPathLen = 2
	}
	if above == nil {
		above, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	keyPEM.Reveal(func(data []byte) { err = durable.WriteFile(filepath.Join(a.dir, file), 0o600, data) })
	return cert, key, err
}
