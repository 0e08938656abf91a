package aead

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
)

// The vectors are fetched as a Go module, as the standard library's tests do, and never copied here. Its
// hash is pinned besides the version, so that it is the same files wherever they come from.
const (
	wycheproof    = "github.com/google/wycheproof@v0.0.0-20191219022705-2196000605e4"
	wycheproofSum = "h1:/jhsqtCSTRK25HsqYePIHeLbPIDBwVOANhQmWRdgsyA="
)

type vector struct {
	ID                     int `json:"tcId"`
	Comment                string
	Key, IV, AAD, Msg      string
	Ciphertext             string `json:"ct"`
	Tag                    string
	Result                 string // valid, invalid or acceptable
	keySize, ivSize, tagSz int
}

func TestWycheproofAESGCM(t *testing.T) {
	t.Parallel()
	// The primitive under XAES-256-GCM: AES-256, 96-bit nonce, 128-bit tag.
	checkVectors(t, "aes_gcm_test.json", 96, 48, func(key []byte) (opener, error) {
		gcm, err := newGCM(key)
		if err != nil {
			return nil, err
		}
		return func(sealed, associated []byte) ([]byte, error) { return gcm.Open(nil, nil, sealed, associated) }, nil
	})
}

func TestWycheproofXChaCha20Poly1305(t *testing.T) {
	t.Parallel()
	checkVectors(t, "xchacha20_poly1305_test.json", 192, 200, func(key []byte) (opener, error) {
		k, err := NewKey(ChaCha20Poly1305, secret.Take(key))
		if err != nil {
			return nil, err
		}
		return func(sealed, associated []byte) ([]byte, error) { return k.Open(nil, sealed, associated) }, nil
	})
}

type opener func(sealed, associated []byte) ([]byte, error)

// checkVectors opens every vector with a 256-bit key, a 128-bit tag and a nonce of ivSize bits; at least atLeast of them.
func checkVectors(t *testing.T, file string, ivSize, atLeast int, newOpener func(key []byte) (opener, error)) {
	t.Helper()
	count := 0
	for _, v := range vectors(t, file) {
		if v.keySize != 256 || v.ivSize != ivSize || v.tagSz != 128 {
			continue
		}
		count++
		open, err := newOpener(unhex(t, v.Key))
		if err != nil {
			t.Fatal(err)
		}
		plaintext, err := open(unhex(t, v.IV+v.Ciphertext+v.Tag), unhex(t, v.AAD))
		switch {
		case v.Result == "valid" && (err != nil || string(plaintext) != string(unhex(t, v.Msg))):
			t.Errorf("vector %d (%s): valid but Open = %x, %v", v.ID, v.Comment, plaintext, err)
		case v.Result == "invalid" && err == nil:
			t.Errorf("vector %d (%s): invalid but opened", v.ID, v.Comment)
		}
	}
	if count < atLeast {
		t.Errorf("%d vectors checked, want at least %d", count, atLeast)
	}
}

// vectors reads a file of the module. Where it can be neither downloaded nor found in the module cache,
// the test fails rather than pass without its vectors; -short is the way to leave them out.
func vectors(t *testing.T, file string) (all []vector) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: the Wycheproof vectors are left out")
	}
	command := exec.Command("go", "mod", "download", "-json", wycheproof)
	command.Dir = t.TempDir() // outside of any module: downloading changes no go.sum
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	output, err := command.Output()
	var module struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(output, &module); err != nil || jsonErr != nil || module.Dir == "" {
		t.Fatalf("the Wycheproof vectors could not be fetched (%v): %s\nrun once with a module proxy in reach: go mod download %s\n"+
			"or leave them out: go test -short", err, module.Error, wycheproof)
	}
	if module.Sum != wycheproofSum {
		t.Fatalf("%s has the hash %s, want %s", wycheproof, module.Sum, wycheproofSum)
	}
	content, err := os.ReadFile(filepath.Join(module.Dir, "testvectors", file))
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		TestGroups []struct {
			IVSize, KeySize, TagSize int
			Tests                    []vector
		}
	}
	if err := json.Unmarshal(content, &suite); err != nil {
		t.Fatal(err)
	}
	for _, group := range suite.TestGroups {
		for _, v := range group.Tests {
			v.keySize, v.ivSize, v.tagSz = group.KeySize, group.IVSize, group.TagSize
			all = append(all, v)
		}
	}
	return all
}
