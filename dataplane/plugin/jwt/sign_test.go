package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"strings"
	"sync"
	"testing"
	"time"
)

const shared = "a-shared-secret"

// keyring is one key of each kind; making an RSA key takes a while.
type keyring struct {
	rsa     *rsa.PrivateKey
	ec      map[string]*ecdsa.PrivateKey
	edwards ed25519.PrivateKey
}

var keysOnce = sync.OnceValues(func() (*keyring, error) {
	k := &keyring{ec: map[string]*ecdsa.PrivateKey{}}
	var err error
	if k.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	for algorithm, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		if k.ec[algorithm], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return nil, err
		}
	}
	_, k.edwards, err = ed25519.GenerateKey(rand.Reader)
	return k, err
})

func keys(t testing.TB) *keyring {
	t.Helper()
	k, err := keysOnce()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keyring) private(algorithm string) crypto.Signer {
	switch {
	case algorithm == "EdDSA":
		return k.edwards
	case algorithm[:2] == "ES":
		return k.ec[algorithm]
	}
	return k.rsa
}

// public is the public key for an algorithm in PEM.
func (k *keyring) public(t testing.TB, algorithm string) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.private(algorithm).Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func claims(expiresIn int) map[string]any {
	return map[string]any{"iss": "issuer", "exp": time.Now().Unix() + int64(expiresIn), "nbf": time.Now().Unix() - 10}
}

func part(t testing.TB, v any) string {
	t.Helper()
	text, isText := v.(string)
	if !isText {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// token signs claims as an algorithm asks for.
func (k *keyring) token(t testing.TB, algorithm string, claims any) string {
	t.Helper()
	return k.sign(t, algorithm, []byte(shared), part(t, map[string]any{"alg": algorithm, "typ": "JWT"})+"."+part(t, claims))
}

func (k *keyring) sign(t testing.TB, algorithm string, secret []byte, signed string) string {
	t.Helper()
	return signed + "." + base64.RawURLEncoding.EncodeToString(k.signature(t, algorithm, secret, signed))
}

func (k *keyring) signature(t testing.TB, algorithm string, secret []byte, signed string) []byte {
	t.Helper()
	h := map[byte]crypto.Hash{'6': crypto.SHA256, '4': crypto.SHA384, '2': crypto.SHA512}[algorithm[len(algorithm)-1]]
	if algorithm[:2] == "HS" {
		mac := hmac.New(func() hash.Hash { return h.New() }, secret)
		mac.Write([]byte(signed))
		return mac.Sum(nil)
	}
	if algorithm == "EdDSA" {
		return ed25519.Sign(k.edwards, []byte(signed))
	}
	sum := h.New()
	sum.Write([]byte(signed))
	digest := sum.Sum(nil)
	var out []byte
	var err error
	switch algorithm[:2] {
	case "RS":
		out, err = rsa.SignPKCS1v15(nil, k.rsa, h, digest)
	case "PS":
		out, err = rsa.SignPSS(rand.Reader, k.rsa, h, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		r, s, failed := ecdsa.Sign(rand.Reader, k.ec[algorithm], digest)
		size := (k.ec[algorithm].Params().BitSize + 7) / 8
		out, err = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), failed
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file is a configuration with a credential for each algorithm, named after it, and one named issuer with the shared secret.
func (k *keyring) file(t testing.TB, config string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("services: [{name: s, url: \"{{origin}}\", routes: [{name: r, paths: [/]}]}]\n")
	fmt.Fprintf(&b, "plugins: [{name: jwt, config: %s}]\nconsumers:\n- username: guest\n- username: al\n  jwt_secrets:\n", config)
	fmt.Fprintf(&b, "  - {key: issuer, secret: %s}\n", shared)
	for _, algorithm := range []string{"HS256", "HS384", "HS512"} {
		fmt.Fprintf(&b, "  - {key: %s, secret: %s, algorithm: %[1]s}\n", algorithm, shared)
	}
	for _, algorithm := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		fmt.Fprintf(&b, "  - {key: %s, algorithm: %[1]s, rsa_public_key: %q}\n", algorithm, k.public(t, algorithm))
	}
	return b.String()
}
