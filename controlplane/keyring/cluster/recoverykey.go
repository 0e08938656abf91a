package cluster

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	minBits    = 2048
	maxBits    = 16384
	maxKeyText = 64 << 10
)

// RecoveryKey is the public half of an operator's RSA key pair.
type RecoveryKey struct {
	public *rsa.PublicKey
	digest [8]byte // of its DER: the same whatever PEM it came in
}

// head is what key rows write before the ciphertext.
func (k *RecoveryKey) head() []byte { return append([]byte{version}, k.digest[:]...) }

// RSA is the public key itself.
func (k *RecoveryKey) RSA() *rsa.PublicKey { return k.public }

func newRecoveryKey(public *rsa.PublicKey) (*RecoveryKey, error) {
	if bits := public.N.BitLen(); bits < minBits || bits > maxBits {
		return nil, fmt.Errorf("an RSA key of %d bits; want %d to %d", bits, minBits, maxBits)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &RecoveryKey{public, [8]byte(sum[:8])}, nil
}

// LoadRecoveryKey reads the setting keyring_recovery_public_key: a path, PEM text, or base64 of PEM text;
// "" gives nil. The PEM is what openssl makes: PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE, of RSA with at
// least 2048 bits. It fails with fault.Invalid otherwise.
func LoadRecoveryKey(setting string) (*RecoveryKey, error) {
	if setting == "" {
		return nil, nil
	}
	text, err := settingText(setting)
	if err == nil {
		var key *RecoveryKey
		if key, err = ParseRecoveryKey(text); err == nil {
			return key, nil
		}
	}
	return nil, fault.New(fault.Invalid, "cluster.LoadRecoveryKey", "keyring_recovery_public_key", err)
}

func settingText(setting string) ([]byte, error) {
	if strings.Contains(setting, "-----BEGIN") {
		return []byte(setting), nil
	}
	if decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(setting)); err == nil && bytes.Contains(decoded, []byte("-----BEGIN")) {
		return decoded, nil
	}
	info, err := os.Stat(setting)
	if err != nil {
		return nil, fmt.Errorf("neither PEM, nor base64 of PEM, nor a file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyText {
		return nil, fmt.Errorf("%s is no key file", setting)
	}
	return os.ReadFile(setting)
}

// ParseRecoveryKey reads a public key or certificate from PEM.
func ParseRecoveryKey(text []byte) (*RecoveryKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	public, err := parsePublic(block)
	if err != nil {
		return nil, err
	}
	return newRecoveryKey(public)
}

func parsePublic(block *pem.Block) (*rsa.PublicKey, error) {
	var public any
	var err error
	switch block.Type {
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY":
		return nil, errors.New("this is a private key: keep it offline and configure its public half (openssl pkey -in key.pem -pubout)")
	default:
		return nil, fmt.Errorf("PEM of %q where a PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE is wanted", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", block.Type, err)
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("not an RSA key")
	}
	return key, nil
}

// ParsePrivate reads an RSA private key from PEM, not encrypted. Its errors never quote the text.
func ParsePrivate(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	defer clear(block.Bytes)
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("the private key is encrypted; decrypt it first: openssl pkey -in key.pem -out plain.pem (and delete plain.pem afterwards)")
	}
	var key *rsa.PrivateKey
	switch block.Type {
	case "RSA PRIVATE KEY":
		parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the RSA PRIVATE KEY does not parse")
		}
		key = parsed
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the PRIVATE KEY does not parse")
		}
		rsaKey, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("not an RSA key")
		}
		key = rsaKey
	default:
		return nil, fmt.Errorf("PEM of %q where a PRIVATE KEY or RSA PRIVATE KEY is wanted", block.Type)
	}
	return key, nil
}
