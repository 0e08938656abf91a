package aead_test

import (
	"runtime"
	"testing"

	"github.com/keepgate/keepgate/shared/aead"
)

var kilobyte = make([]byte, 1024)

// heap lets the collector run as seldom as in a control plane that holds 32 MiB (an idle one holds about that):
// alone in a process, these benchmarks' results would be collected every few milliseconds.
func heap(b *testing.B) {
	held := make([]byte, 32<<20)
	b.Cleanup(func() { runtime.KeepAlive(held) })
}

func BenchmarkSeal1KiB(b *testing.B) {
	for _, suite := range suites {
		k, dst, associated := newKey(b, suite, 1), make([]byte, 0, 2048), aead.Associated("x", "y")
		b.Run(suite.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				k.Seal(dst, kilobyte, associated)
			}
		})
	}
}

func BenchmarkOpen1KiB(b *testing.B) {
	for _, suite := range suites {
		k, dst, associated := newKey(b, suite, 1), make([]byte, 0, 2048), aead.Associated("x", "y")
		sealed := k.Seal(nil, kilobyte, associated)
		b.Run(suite.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				if _, err := k.Open(dst, sealed, associated); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSealText1KiB(b *testing.B) {
	heap(b)
	k := newKey(b, aead.AES256GCM, 1)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		aead.SealText(k, "8zgITLQh", home, kilobyte)
	}
}

func BenchmarkOpenText1KiB(b *testing.B) {
	heap(b)
	k := newKey(b, aead.AES256GCM, 1)
	for name, writers := range map[string]int{"written together": 1, "written apart": 8, "of more writers than keys are kept": 1024} {
		texts := make([]string, writers) // each writer derives a key of its own
		for i := range texts {
			texts[i] = aead.SealText(newKey(b, aead.AES256GCM, 1), "8zgITLQh", home, kilobyte)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1024)
			for i := 0; b.Loop(); i++ {
				if _, err := aead.OpenText(k, home, texts[i%writers]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSealPrefixed1KiB(b *testing.B) {
	heap(b)
	k, plaintext := newKey(b, aead.AES256GCM, 1), string(kilobyte)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, plaintext)
	}
}

func BenchmarkOpenPrefixed1KiB(b *testing.B) {
	heap(b)
	k := newKey(b, aead.AES256GCM, 1)
	text := aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, string(kilobyte))
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		if _, err := aead.OpenPrefixed(k, kmsPrefix, home, text); err != nil {
			b.Fatal(err)
		}
	}
}
