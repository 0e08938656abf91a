package mtls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	maxFile     = 1 << 20  // certificates and keys
	maxCRLFile  = 64 << 20 // about a million entries
	deriveLabel = "keepgate/mtls/derive/v1\x00"
)

// readFile reads at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // opened for reading
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}

// readKeyFile reads a private key that nobody but its owner can read. A file of root's may also be
// readable by a group (the rule PostgreSQL has for its server key); notice then says so.
func readKeyFile(path string) (data []byte, notice string, err error) {
	data, notice, err = secretfile.ReadShared(path, maxFile)
	if notice != "" {
		notice = "private key " + notice
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("private key: %w", err)
	}
	return data, notice, err
}

// NewKey makes an EC P-256 key and its PKCS#8 PEM.
func NewKey() (crypto.Signer, secret.Bytes, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, secret.Bytes{}, fmt.Errorf("making an EC P-256 key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, secret.Bytes{}, fmt.Errorf("encoding an EC P-256 key: %w", err)
	}
	defer clear(der)
	return key, secret.Take(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// ReadKey reads the private key in a file that nobody but its owner can read.
func ReadKey(path string) (crypto.Signer, error) {
	const op = "mtls.ReadKey"
	data, _, err := readKeyFile(path)
	if err != nil {
		return nil, invalid(op, path, err)
	}
	defer clear(data)
	key, err := parseKey(data)
	if err != nil {
		return nil, invalid(op, path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, invalid(op, path, errors.New("this kind of key cannot sign"))
	}
	return signer, nil
}

// DeriveKey derives n bytes from the private key in use: HKDF-SHA256 (RFC 5869) without salt over the
// PKCS#8 DER of the key, info "keepgate/mtls/derive/v1\0" + label. The DER is encoded anew from the parsed
// key, so that a SEC 1 or PKCS#1 file of the same key derives the same bytes. Another key, as after a
// renewal, derives others.
func (s *Source) DeriveKey(label string, n int) (secret.Bytes, error) {
	derived, err := deriveKey(s.trust.Load().pair.PrivateKey, label, n)
	if err != nil {
		return secret.Bytes{}, invalid("mtls.DeriveKey", s.files.Key, err)
	}
	return derived, nil
}

// DeriveKeyFile is DeriveKey for the key in a file: the next one before it is used, or the previous one
// after it was replaced.
func DeriveKeyFile(path, label string, n int) (secret.Bytes, error) {
	key, err := ReadKey(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	derived, err := deriveKey(key, label, n)
	if err != nil {
		return secret.Bytes{}, invalid("mtls.DeriveKeyFile", path, err)
	}
	return derived, nil
}

func deriveKey(key crypto.PrivateKey, label string, n int) (secret.Bytes, error) {
	if label == "" || n < 16 || n > 255*sha256.Size {
		return secret.Bytes{}, fmt.Errorf("deriving %d bytes under label %q: a label and 16 to %d bytes are needed", n, label, 255*sha256.Size)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("encoding the key: %w", err)
	}
	defer clear(der)
	derived, err := hkdf.Key(sha256.New, der, nil, deriveLabel+label, n)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("HKDF: %w", err)
	}
	return secret.Take(derived), nil
}

// parseKey reads the first private key of a PEM file, in PKCS#8, SEC 1 or PKCS#1 form.
func parseKey(data []byte) (crypto.PrivateKey, error) {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, errors.New("there is no private key in PEM form in it")
		}
		data = rest
		switch block.Type {
		case "PRIVATE KEY":
			return x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted with a password: decrypt it first")
		}
	}
}
