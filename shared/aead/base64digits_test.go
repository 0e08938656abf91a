package aead

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBase64IsThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, before := rapid.SliceOf(rapid.Byte()).Draw(t, "data"), rapid.SliceOf(rapid.Byte()).Draw(t, "before")
		text := string(appendBase64(bytes.Clone(before), data)[len(before):])
		if text != base64.StdEncoding.EncodeToString(data) {
			t.Fatalf("appendBase64 = %q", text)
		}
		if decoded, ok := appendDecodedBase64(bytes.Clone(before), text); !ok || !bytes.Equal(decoded, append(before, data...)) {
			t.Fatalf("appendDecodedBase64 = %x, %v", decoded, ok)
		}
	})
}

// Every byte value in every place, and each length, are read or refused as the strict decoder does.
func TestBase64ReadsNothingElse(t *testing.T) {
	t.Parallel()
	whole := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("\x00\xff\x5a"), 9))
	for length := range len(whole) + 1 {
		sameAsStrict(t, whole[:length])
	}
	for at := range len(whole) {
		for c := range 256 {
			digits := []byte(whole)
			digits[at] = byte(c)
			sameAsStrict(t, string(digits))
			sameAsStrict(t, string(digits[:len(digits)-2])+"==")
			sameAsStrict(t, string(digits[:len(digits)-1])+"=")
		}
	}
}

func FuzzBase64(f *testing.F) {
	for _, text := range []string{"", "AAAA", "AAA=", "AA==", "AAB=", "AAAAAAAA\nAAAAAAA", "////++++AAAAAAAAAA==", "AAAAAAAAAAAA===="} {
		f.Add(text)
	}
	f.Fuzz(sameAsStrict)
}

func sameAsStrict(t *testing.T, text string) {
	want, err := base64.StdEncoding.Strict().DecodeString(text)
	good := err == nil && !strings.ContainsAny(text, "\r\n")
	if decoded, ok := appendDecodedBase64(nil, text); ok != good || ok && !bytes.Equal(decoded, want) {
		t.Errorf("appendDecodedBase64(%q) = %x, %v, want %x, %v", text, decoded, ok, want, good)
	}
}

func BenchmarkBase64(b *testing.B) {
	data := make([]byte, 1064)
	text := base64.StdEncoding.EncodeToString(data)
	dst := make([]byte, 0, 2048)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			appendBase64(dst, data)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			appendDecodedBase64(dst, text)
		}
	})
	b.Run("encode, standard library", func(b *testing.B) {
		for b.Loop() {
			base64.StdEncoding.AppendEncode(dst, data)
		}
	})
	b.Run("decode, standard library", func(b *testing.B) {
		for b.Loop() {
			_, _ = base64.StdEncoding.AppendDecode(dst, []byte(text))
		}
	})
}
