// Package privatekey makes, reads and asks for certificates of private keys, and derives secrets from them.
//
// A key rests in a file of its own that nobody but its owner can read, in PEM: PKCS#8, SEC 1 or PKCS#1.
package privatekey

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

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const (
	maxFile     = 1 << 20
	deriveLabel = "keepgate/mtls/derive/v1\x00"
)

// ReadPEM reads a private key by [secretfile]'s rule.
func ReadPEM(path string) (data []byte, notice string, err error) {
	data, notice, err = secretfile.Read(path, maxFile)
	if notice != "" {
		notice = "private key " + notice
	}
	if err != nil {
		err = fmt.Errorf("private key: %w", err)
	}
	return data, notice, err
}

// New makes an EC P-256 key and its PKCS#8 PEM.
func New() (crypto.Signer, secret.Bytes, error) {
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

// Read reads the private key in a file, by [secretfile]'s rule.
func Read(path string) (crypto.Signer, error) {
	const op = "privatekey.Read"
	data, _, err := ReadPEM(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, err)
	}
	defer clear(data)
	key, err := Parse(data)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fault.New(fault.Invalid, op, path, errors.New("this kind of key cannot sign"))
	}
	return signer, nil
}

// DeriveFile is Derive for the key in a file: the next one before it is used, or the previous one
// after it was replaced.
func DeriveFile(path, label string, n int) (secret.Bytes, error) {
	key, err := Read(path)
	if err != nil {
		return secret.Bytes{}, err
	}
	derived, err := Derive(key, label, n)
	if err != nil {
		return secret.Bytes{}, fault.New(fault.Invalid, "privatekey.DeriveFile", path, err)
	}
	return derived, nil
}

// Derive derives n bytes from a private key: HKDF-SHA256 (RFC 5869) without salt over the
// PKCS#8 DER of the key, info "keepgate/mtls/derive/v1\0" + label. The DER is encoded anew from the parsed
// key, so that a SEC 1 or PKCS#1 file of the same key derives the same bytes. Another key, as after a
// renewal, derives others.
func Derive(key crypto.PrivateKey, label string, n int) (secret.Bytes, error) {
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

// Parse reads the first private key of a PEM file, in PKCS#8, SEC 1 or PKCS#1 form.
func Parse(data []byte) (crypto.PrivateKey, error) {
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
