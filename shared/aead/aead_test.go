package aead_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

var suites = []aead.Suite{aead.AES256GCM, aead.ChaCha20Poly1305}

func newKey(t testing.TB, suite aead.Suite, fill byte) *aead.Key {
	t.Helper()
	k, err := aead.NewKey(suite, secret.Take(bytes.Repeat([]byte{fill}, aead.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatIsSealedOpens(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			k := newKey(t, suite, 7)
			rapid.Check(t, func(t *rapid.T) {
				plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
				associated := rapid.SliceOf(rapid.Byte()).Draw(t, "associated")
				before := rapid.SliceOf(rapid.Byte()).Draw(t, "before")
				sealed := k.Seal(bytes.Clone(before), plaintext, associated)
				if len(sealed) != len(before)+len(plaintext)+aead.Overhead || !bytes.HasPrefix(sealed, before) {
					t.Fatalf("Seal gave %d bytes after %d", len(sealed), len(before))
				}
				opened, err := k.Open(bytes.Clone(before), sealed[len(before):], associated)
				if err != nil || !bytes.Equal(opened, append(before, plaintext...)) {
					t.Fatalf("Open = %x, %v", opened, err)
				}
			})
		})
	}
}

func TestSealedBytesAreNeverTheSame(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		k, seen := newKey(t, suite, 1), map[string]bool{}
		for range 1000 {
			seen[string(k.Seal(nil, nil, nil)[:24])] = true
		}
		if len(seen) != 1000 {
			t.Errorf("%v: 1000 seals drew %d nonces", suite, len(seen))
		}
	}
}

func TestOpenRefusesWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	plaintext, associated := []byte("a password hash"), aead.Associated("test", "a", "b")
	for _, suite := range suites {
		t.Run(suite.String(), func(t *testing.T) {
			t.Parallel()
			k := newKey(t, suite, 7)
			sealed := k.Seal(nil, plaintext, associated)
			refuses := func(what string, k *aead.Key, sealed, associated []byte) {
				t.Helper()
				if opened, err := k.Open(nil, sealed, associated); fault.KindOf(err) != fault.Corrupt || opened != nil {
					t.Errorf("%s: Open = %x, %v, want kind %v", what, opened, err, fault.Corrupt)
				}
			}
			for bit := range len(sealed) * 8 {
				changed := bytes.Clone(sealed)
				changed[bit/8] ^= 1 << (bit % 8)
				refuses(fmt.Sprintf("bit %d flipped", bit), k, changed, associated)
			}
			for bit := range len(associated) * 8 {
				changed := bytes.Clone(associated)
				changed[bit/8] ^= 1 << (bit % 8)
				refuses(fmt.Sprintf("associated bit %d flipped", bit), k, sealed, changed)
			}
			for n := range len(sealed) {
				refuses(fmt.Sprintf("cut to %d", n), k, sealed[:n], associated)
				refuses(fmt.Sprintf("%d cut off the front", n+1), k, sealed[n+1:], associated)
			}
			refuses("a byte longer", k, append(bytes.Clone(sealed), 0), associated)
			refuses("another key", newKey(t, suite, 8), sealed, associated)
			refuses("no associated data", k, sealed, nil)
		})
	}
	refuse := newKey(t, aead.ChaCha20Poly1305, 7)
	if _, err := refuse.Open(nil, newKey(t, aead.AES256GCM, 7).Seal(nil, plaintext, nil), nil); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("the other suite: Open = %v", err)
	}
}

func TestNewKeyRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		suite aead.Suite
		size  int
	}{
		"no material":   {aead.AES256GCM, 0},
		"16 bytes":      {aead.AES256GCM, 16},
		"33 bytes":      {aead.AES256GCM, 33},
		"31 bytes":      {aead.ChaCha20Poly1305, 31},
		"no suite":      {0, 32},
		"unknown suite": {3, 32},
	} {
		if k, err := aead.NewKey(test.suite, secret.Take(make([]byte, test.size))); fault.KindOf(err) != fault.Invalid || k != nil {
			t.Errorf("%s: NewKey = %v, %v, want kind %v", name, k != nil, err, fault.Invalid)
		}
	}
}

func TestNoPrinterShowsAKey(t *testing.T) {
	t.Parallel()
	material := "canary-canary-canary-canary-0123"
	k, err := aead.NewKey(aead.AES256GCM, secret.Take([]byte(material)))
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %v %+v %#v", k, k, k, *k, *k, *k)
	if strings.Contains(shown, "canary") || strings.Contains(shown, fmt.Sprintf("%x", "canary")) || strings.Contains(shown, "99 97 110") {
		t.Errorf("a printer shows the key: %s", shown)
	}
}

// TestStrictFIPS runs this binary's other tests again where the runtime refuses what FIPS 140 does not approve.
func TestStrictFIPS(t *testing.T) {
	t.Parallel()
	if os.Getenv("KEEPGATE_TEST_STRICT_FIPS") != "" {
		k := newKey(t, aead.AES256GCM, 7)
		p := aead.Place{Workspace: "w", Table: "t", Row: "r", Field: "f"}
		if opened, err := aead.OpenText(k, p, aead.SealText(k, aead.NewKeyID(), p, []byte("x"))); err != nil || string(opened) != "x" {
			t.Fatalf("the default path does not work: %q, %v", opened, err)
		}
		_, err := aead.NewKey(aead.ChaCha20Poly1305, secret.Take(make([]byte, aead.KeySize)))
		if fault.KindOf(err) != fault.Invalid {
			t.Fatalf("NewKey(ChaCha20Poly1305) = %v, want kind %v", err, fault.Invalid)
		}
		return
	}
	command := exec.Command(os.Args[0], "-test.run=^TestStrictFIPS$", "-test.v")
	command.Env = append(os.Environ(), "GODEBUG=fips140=only", "KEEPGATE_TEST_STRICT_FIPS=1")
	output, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "--- PASS: TestStrictFIPS") {
		t.Errorf("under fips140=only: %v\n%s", err, output)
	}
}

// One derived key seals 1,024 messages, whoever seals, and no two of them under one nonce.
func TestDerivedKeysAreRenewed(t *testing.T) {
	t.Parallel()
	const writers, each, nonces, derivation = 4, 2048, 24, 12
	k := newKey(t, aead.AES256GCM, 1)
	sealed := make([][]byte, writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				sealed[w*each+i] = k.Seal(nil, []byte("x"), nil)
			}
		})
	}
	wg.Wait()
	seen, uses := map[string]bool{}, map[string]int{}
	for _, s := range sealed {
		seen[string(s[:nonces])] = true
		uses[string(s[:derivation])]++
		if opened, err := k.Open(nil, s, nil); err != nil || string(opened) != "x" {
			t.Fatalf("opened %q, %v", opened, err)
		}
	}
	if len(seen) != len(sealed) {
		t.Errorf("%d nonces for %d messages", len(seen), len(sealed))
	}
	if len(uses) < len(sealed)/1024 {
		t.Errorf("%d derived keys for %d messages", len(uses), len(sealed))
	}
	for _, n := range uses {
		if n > 1024 {
			t.Errorf("a derived key sealed %d messages", n)
		}
	}
}
