package listener

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Names of the default certificate's files under <prefix>/ssl.
const (
	DefaultCert = "keepgate-default.crt"
	DefaultKey  = "keepgate-default.key"
)

// SelfSigned loads the default certificate of a proxy without ssl_cert from <prefix>/ssl, and makes it (ECDSA P-256, 20 years,
// for localhost) when there is none. Nobody should trust it; it lets a TLS socket answer at all. made says that it is new.
func SelfSigned(prefix string) (cert tls.Certificate, made bool, err error) {
	dir := filepath.Join(prefix, "ssl")
	certPath, keyPath := filepath.Join(dir, DefaultCert), filepath.Join(dir, DefaultKey)
	cert, err = tls.LoadX509KeyPair(certPath, keyPath)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			err = fmt.Errorf("reading the default certificate in %s: %w", dir, err)
		}
		return cert, false, err
	}
	certPEM, keyPEM, err := makeSelfSigned()
	if err != nil {
		return tls.Certificate{}, false, fmt.Errorf("making the default certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, false, fmt.Errorf("making the default certificate: %w", err)
	}
	// The key first: a certificate without its key would be taken for a broken pair.
	if err := place(keyPath, keyPEM, 0o600); err != nil {
		return tls.Certificate{}, false, fmt.Errorf("writing the default key: %w", err)
	}
	if err := place(certPath, certPEM, 0o644); err != nil {
		return tls.Certificate{}, false, fmt.Errorf("writing the default certificate: %w", err)
	}
	cert, err = tls.X509KeyPair(certPEM, keyPEM)
	return cert, true, err
}

// place writes a file whole or not at all.
func place(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func makeSelfSigned() (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost", Organization: []string{"Keepgate default certificate"}},
		DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(20, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
