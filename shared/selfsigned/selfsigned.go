// Package selfsigned makes the certificate of a TLS socket for which nobody has configured one, and finds it again
// at the next start.
//
// Nobody should trust it: it lets the socket answer at all. Certificates between the planes are
// controlplane/certs's.
package selfsigned

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
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// Load reads <dir>/<name>.crt and .key, and makes them (ECDSA P-256, 20 years, for localhost and the loopback
// addresses; the key with mode 0600) when there is no certificate. made says that it is new.
func Load(dir, name string) (cert tls.Certificate, made bool, err error) {
	certPath, keyPath := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	cert, _, err = secretfile.KeyPair(certPath, keyPath) // made here, with mode 0600
	switch {
	case err == nil:
		return cert, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return cert, false, fmt.Errorf("reading %s: %w", certPath, err)
	}
	certPEM, keyPEM, err := generate()
	if err != nil {
		return tls.Certificate{}, false, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, false, err
	}
	// The key first: a certificate without its key would be taken for a broken pair.
	if err := durable.WriteFile(keyPath, 0o600, keyPEM); err != nil {
		return tls.Certificate{}, false, err
	}
	if err := durable.WriteFile(certPath, 0o644, certPEM); err != nil {
		return tls.Certificate{}, false, err
	}
	cert, err = tls.X509KeyPair(certPEM, keyPEM)
	return cert, true, err
}

func generate() (certPEM, keyPEM []byte, err error) {
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
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(20, 0, 0),
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
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
