package format

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"reflect"
	"strings"
	"time"
)

// certificates parses one PEM certificate or a chain.
func certificates(s string) ([]*x509.Certificate, string) {
	var chain []*x509.Certificate
	rest := []byte(s)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, "invalid certificate: unexpected PEM block " + block.Type
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "invalid certificate: " + strings.TrimPrefix(err.Error(), "x509: ")
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, "invalid certificate: no PEM certificate found"
	}
	return chain, ""
}

// privateKey parses one unencrypted PEM private key: PKCS #8, PKCS #1 or SEC 1. Its messages say nothing of
// what the text holds.
func privateKey(s string) (crypto.Signer, string) {
	const invalid = "invalid key: "
	rest := []byte(s)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, invalid + "no PEM private key found"
		}
		var key any
		var err error
		switch block.Type {
		case "EC PARAMETERS": // OpenSSL writes them before the key
			continue
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			return nil, invalid + "no unencrypted PEM private key found"
		}
		signer, ok := key.(crypto.Signer)
		if err != nil || !ok {
			return nil, invalid + "cannot parse the PEM private key"
		}
		return signer, ""
	}
}

// Pair says whether key is the private key of the first certificate of cert. Both have been checked.
func Pair(cert, key string) bool {
	chain, message := certificates(cert)
	if message != "" {
		return false
	}
	signer, message := privateKey(key)
	if message != "" {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(chain[0].PublicKey)
}

// SameKeyType says whether the keys of two certificates are of one type.
func SameKeyType(a, b string) bool {
	first, messageA := certificates(a)
	second, messageB := certificates(b)
	return messageA == "" && messageB == "" &&
		reflect.TypeOf(first[0].PublicKey) == reflect.TypeOf(second[0].PublicKey)
}

func caCertificate(s string) string {
	chain, message := certificates(s)
	switch {
	case message != "":
		return message
	case len(chain) > 1:
		return "please submit only one certificate at a time"
	case chain[0].NotAfter.Before(time.Now()):
		return `certificate expired, "Not After" time is in the past`
	case !chain[0].BasicConstraintsValid || !chain[0].IsCA:
		return `certificate does not appear to be a CA because it is missing the "CA" basic constraint`
	}
	return ""
}

// Digest returns the hex SHA-256 of the first certificate's DER, "" when there is none.
func Digest(cert string) string {
	chain, message := certificates(cert)
	if message != "" {
		return ""
	}
	sum := sha256.Sum256(chain[0].Raw)
	return hex.EncodeToString(sum[:])
}
