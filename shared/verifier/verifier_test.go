package verifier_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

const (
	// The reference implementation's own test: "password", "somesalt", m=65536, t=2, p=1.
	reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	// "correct horse", "0123456789abcdef", 1000 iterations; computed with Python's hashlib.
	pbkdf2Hash = "$pbkdf2-sha256$i=1000$MDEyMzQ1Njc4OWFiY2RlZg$cBg8D2DungRB9k76szThf5ehfyBz991ay6PT8Srwk4M"
)

func TestANewHashVerifies(t *testing.T) {
	t.Parallel()
	phc := verifier.HashPassword([]byte("correct horse"))
	if !fips140.Enabled() && !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("unexpected form of a hash: %.30s", phc)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
		if right, err := verifier.VerifyPassword(phc, []byte(password)); err != nil || right != want {
			t.Errorf("VerifyPassword(%q) = %v, %v, want %v", password, right, err, want)
		}
	}
	if again := verifier.HashPassword([]byte("correct horse")); again == phc {
		t.Error("two hashes of one password are the same")
	}
}

func TestHashesOfOthersVerify(t *testing.T) {
	t.Parallel()
	if right, err := verifier.VerifyPassword(reference, []byte("password")); err != nil || !right {
		t.Errorf("argon2id = %v, %v", right, err)
	}
	if right, err := verifier.VerifyPassword(pbkdf2Hash, []byte("correct horse")); err != nil || !right {
		t.Errorf("pbkdf2 = %v, %v", right, err)
	}
	const consumer = "b51a5c3a-07c9-4c7a-92c2-0a4d0c1e0a11"
	sum := sha1.Sum([]byte("kong" + consumer))
	h, err := verifier.ParseHash(hex.EncodeToString(sum[:]))
	if err != nil || h.Scheme != verifier.KongSHA1 {
		t.Fatalf("ParseHash = %v, %v", h.Scheme, err)
	}
	for password, want := range map[string]bool{"kong": true, "kongx": false} {
		if right, err := h.Verify([]byte(password), consumer); err != nil || right != want {
			t.Errorf("Verify(%q) = %v, %v", password, right, err)
		}
	}
	if right, err := h.Verify([]byte("kong"), "another"); err != nil || right {
		t.Errorf("another consumer's: %v, %v", right, err)
	}
	if _, err := verifier.VerifyPassword(hex.EncodeToString(sum[:]), []byte("kong")); fault.KindOf(err) != fault.Invalid {
		t.Errorf("VerifyPassword without a consumer = %v", err)
	}
}

func TestParseHashBoundsWhatItTakes(t *testing.T) {
	t.Parallel()
	const salt, tag = "c29tc2FsdHNvbWVzYWx0", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	argon := func(parameters string) string { return "$argon2id$v=19$" + parameters + "$" + salt + "$" + tag }
	tests := map[string]struct {
		text string
		good bool
	}{
		"ours":                   {argon("m=19456,t=2,p=1"), true},
		"most memory":            {argon("m=65536,t=10,p=4"), true},
		"too much memory":        {argon("m=65537,t=2,p=1"), false},
		"too little memory":      {argon("m=31,t=2,p=4"), false},
		"too many passes":        {argon("m=19456,t=11,p=1"), false},
		"no pass":                {argon("m=19456,t=0,p=1"), false},
		"too many lanes":         {argon("m=19456,t=2,p=5"), false},
		"no lane":                {argon("m=19456,t=2,p=0"), false},
		"huge number":            {argon("m=99999999999999999999,t=2,p=1"), false},
		"negative":               {argon("m=-1,t=2,p=1"), false},
		"leading zero":           {argon("m=019456,t=2,p=1"), false},
		"plus":                   {argon("m=+19456,t=2,p=1"), false},
		"other order":            {argon("t=2,m=19456,p=1"), false},
		"one more":               {argon("m=19456,t=2,p=1,x=1"), false},
		"argon2i":                {strings.Replace(argon("m=19456,t=2,p=1"), "argon2id", "argon2i", 1), false},
		"other version":          {strings.Replace(argon("m=19456,t=2,p=1"), "v=19", "v=16", 1), false},
		"no version":             {strings.Replace(argon("m=19456,t=2,p=1"), "v=19$", "", 1), false},
		"padded":                 {argon("m=19456,t=2,p=1") + "=", false},
		"newline":                {argon("m=19456,t=2,p=1") + "\n", false},
		"stray bits":             {strings.TrimSuffix(argon("m=19456,t=2,p=1"), "c") + "d", false},
		"one more member":        {argon("m=19456,t=2,p=1") + "$", false},
		"short salt":             {"$argon2id$v=19$m=19456,t=2,p=1$c29tc2Fs$" + tag, false},
		"long salt":              {"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 88) + "$" + tag, false},
		"short tag":              {"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$AAAAAAAAAAAAAAAAAAAA", false},
		"long tag":               {"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 88), false},
		"pbkdf2":                 {"$pbkdf2-sha256$i=600000$" + salt + "$" + tag, true},
		"pbkdf2 sha512":          {"$pbkdf2-sha512$i=210000$" + salt + "$" + tag, true},
		"pbkdf2 with its length": {"$pbkdf2-sha256$i=600000,l=32$" + salt + "$" + tag, true},
		"pbkdf2, other length":   {"$pbkdf2-sha256$i=600000,l=33$" + salt + "$" + tag, false},
		"too few iterations":     {"$pbkdf2-sha256$i=999$" + salt + "$" + tag, false},
		"too many iterations":    {"$pbkdf2-sha256$i=2000001$" + salt + "$" + tag, false},
		"pbkdf2 sha1":            {"$pbkdf2-sha1$i=600000$" + salt + "$" + tag, false},
		"sha1":                   {strings.Repeat("0a", 20), true},
		"sha1 in upper-case":     {strings.Repeat("0A", 20), false},
		"sha1, short":            {strings.Repeat("0a", 19) + "0", false},
		"a password":             {"correct horse", false},
		"empty":                  {"", false},
		"bcrypt":                 {"$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", false},
		"dollars":                {"$$$$$$", false},
		"endless":                {"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 1<<20), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verifier.ParseHash(test.text)
			if test.good != (err == nil) || err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("ParseHash = %v, want good = %v", err, test.good)
			}
			if err != nil && len(test.text) > 12 && strings.Contains(err.Error(), test.text[len(test.text)-8:]) {
				t.Errorf("the fault quotes the text: %v", err)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	key := func() secret.Bytes { return secret.Take([]byte("0123456789abcdef0123456789abcdef")) }
	mac := hmac.New(sha256.New, []byte("0123456789abcdef0123456789abcdef"))
	mac.Write([]byte("\x00\x00\x00\x07keyauth\x00\x00\x00\x00\x00\x00\x00\x03abc"))
	if got, want := verifier.Fingerprint(key(), "keyauth", "", "abc"), hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("Fingerprint = %s, want %s", got, want)
	}
	if verifier.Fingerprint(key(), "ab", "c") == verifier.Fingerprint(key(), "a", "bc") {
		t.Error("a moved letter gives the same fingerprint")
	}
	f := verifier.NewFingerprinter(key())
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.String()).Draw(t, "parts")
		var bytes [][]byte
		for _, p := range parts {
			bytes = append(bytes, []byte(p))
		}
		if sum := f.SumBytes(bytes...); f.Sum(parts...) != sum || verifier.Fingerprint(key(), parts...) != hex.EncodeToString(sum[:]) {
			t.Fatal("the forms disagree")
		}
	})
	if shown := fmt.Sprintf("%v %+v %#v", f, *f, *f); strings.Contains(shown, "0123456789") {
		t.Errorf("a printer shows the key: %s", shown)
	}
	defer func() {
		if recover() == nil {
			t.Error("a key of 15 bytes makes fingerprints")
		}
	}()
	verifier.Fingerprint(secret.Take(make([]byte, 15)), "x")
}

func TestFIPS(t *testing.T) {
	t.Parallel()
	if want := os.Getenv("KEEPGATE_TEST_FIPS"); want != "" {
		phc := verifier.HashPassword([]byte("x"))
		right, err := verifier.VerifyPassword(phc, []byte("x"))
		if !strings.HasPrefix(phc, "$pbkdf2-sha256$i=600000$") || err != nil || !right {
			t.Fatalf("hash %.30s verifies = %v, %v", phc, right, err)
		}
		_, argonErr := verifier.VerifyPassword(reference, []byte("password"))
		h, err := verifier.ParseHash(strings.Repeat("0a", 20))
		if err != nil {
			t.Fatal(err)
		}
		_, sha1Err := h.Verify([]byte("x"), "y")
		if strict := want == "only"; strict != (fault.KindOf(argonErr) == fault.Invalid) || strict != (fault.KindOf(sha1Err) == fault.Invalid) {
			t.Fatalf("argon2id: %v, SHA-1: %v", argonErr, sha1Err)
		}
		verifier.Fingerprint(secret.Take(make([]byte, 32)), "x")
		return
	}
	if testing.Short() {
		t.Skip("-short: two processes of slow hashes are left out")
	}
	for _, mode := range []string{"on", "only"} {
		command := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		command.Env = append(os.Environ(), "GODEBUG=fips140="+mode, "KEEPGATE_TEST_FIPS="+mode)
		output, err := command.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "--- PASS: TestFIPS") {
			t.Errorf("under fips140=%s: %v\n%s", mode, err, output)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(reference)
	f.Add(pbkdf2Hash)
	f.Add(strings.Repeat("0a", 20))
	f.Add("$pbkdf2-sha512$i=1000,l=16$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if h, err := verifier.ParseHash(text); err == nil {
			if h.Scheme < verifier.Argon2id || h.Scheme > verifier.KongSHA1 {
				t.Fatalf("ParseHash(%q) has the scheme %d", text, h.Scheme)
			}
		} else if fault.KindOf(err) != fault.Invalid {
			t.Fatalf("ParseHash = %v", err)
		}
	})
}

// A derived one is HMAC under HMAC (RFC 2104): of another field it says something else.
func TestFingerprintsOfAField(t *testing.T) {
	t.Parallel()
	whole := verifier.NewFingerprinter(secret.Take(bytes.Repeat([]byte{7}, 32)))
	under := whole.Sum("table", "field")
	mac := hmac.New(sha256.New, under[:])
	mac.Write([]byte("\x00\x00\x00\x05value"))
	got := whole.For("table", "field").Sum("value")
	if !bytes.Equal(got[:], mac.Sum(nil)) {
		t.Errorf("got %x", got)
	}
	if got == whole.For("table", "other").Sum("value") || got == whole.Sum("table", "field", "value") {
		t.Error("two fields have one fingerprint")
	}
}

func BenchmarkFingerprint(b *testing.B) {
	f := verifier.NewFingerprinter(secret.Take(make([]byte, 32))).For("keyauth_credentials", "key")
	b.ReportAllocs()
	for b.Loop() {
		f.Sum("0123456789abcdef0123456789abcdef")
	}
}

func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		verifier.HashPassword([]byte("correct horse"))
	}
}
