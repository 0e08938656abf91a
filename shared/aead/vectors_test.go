package aead

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha3"
	"encoding/hex"
	"io"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
)

// The vectors of c2sp.org/XAES-256-GCM, "Test vectors".
func TestC2SPVectorsOpen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		key        byte // repeated
		k1, single string
		associated string
		sealed     string
	}{
		"first bit of L is 0": {
			key: 0x01, k1: "e531954aca063d5b8d9c47a47d4cc6f0", associated: "",
			single: "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b",
			sealed: "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
		},
		"first bit of L is 1": {
			key: 0x03, k1: "23810ec50edb99f374409466ed1f4b7b", associated: "c2sp.org/XAES-256-GCM",
			single: "e9c621d4cdd9b11b00a6427ad7e559aeedd66b3857646677748f8ca796cb3fd8",
			sealed: "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			material := make([]byte, KeySize)
			for i := range material {
				material[i] = test.key
			}
			block, err := aes.NewCipher(material)
			if err != nil {
				t.Fatal(err)
			}
			nonce := "ABCDEFGHIJKLMNOPQRSTUVWX"
			k1 := cmacSubkey(block)
			var d derivation
			d.derive(block, &k1, []byte(nonce[:derivationSize]))
			if got := hex.EncodeToString(k1[:]); got != test.k1 {
				t.Errorf("K1 = %s, want %s", got, test.k1)
			}
			if got := hex.EncodeToString(d.key[:]); got != test.single {
				t.Errorf("derived key = %s, want %s", got, test.single)
			}
			k, err := NewKey(AES256GCM, secret.Take(material))
			if err != nil {
				t.Fatal(err)
			}
			plaintext, err := k.Open(nil, append([]byte(nonce), unhex(t, test.sealed)...), []byte(test.associated))
			if err != nil || string(plaintext) != "XAES-256-GCM" {
				t.Errorf("Open = %q, %v", plaintext, err)
			}
		})
	}
}

// The specification's accumulated test: 10,000 random messages, one hash. Own nonces need cipher.NewGCM,
// so the test encrypts by the derived key and checks that Open takes the very message that is hashed.
func TestC2SPAccumulatedVectors(t *testing.T) {
	t.Parallel()
	random, hash := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(n int) []byte {
		data := make([]byte, n)
		if _, err := io.ReadFull(random, data); err != nil {
			t.Fatal(err)
		}
		return data
	}
	for i := range 10_000 {
		material, nonce := read(KeySize), read(nonceSize)
		plaintext := read(int(read(1)[0]))
		associated := read(int(read(1)[0]))

		block, err := aes.NewCipher(material)
		if err != nil {
			t.Fatal(err)
		}
		k1 := cmacSubkey(block)
		var d derivation
		d.derive(block, &k1, nonce[:derivationSize])
		single, err := aes.NewCipher(d.key[:])
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(single)
		if err != nil {
			t.Fatal(err)
		}
		ciphertext := gcm.Seal(nil, nonce[derivationSize:], plaintext, associated)
		hash.Write(ciphertext)

		k, err := NewKey(AES256GCM, secret.Take(material))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := k.Open(nil, append(nonce, ciphertext...), associated)
		if err != nil || string(opened) != string(plaintext) {
			t.Fatalf("message %d does not open: %v", i, err)
		}
	}
	sum := make([]byte, 32)
	hash.Read(sum)
	if want := "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"; hex.EncodeToString(sum) != want {
		t.Errorf("hash of all ciphertexts = %x, want %s", sum, want)
	}
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	data, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
