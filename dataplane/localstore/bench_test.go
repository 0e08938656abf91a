package localstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keepgate/keepgate/dataplane/localstore"
)

// kibibytes gives n entries of 1 KiB, one part in five of it random, spread over the data classes.
func kibibytes(n int) model {
	m := make(model, n)
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 1024)
	copy(data, fmt.Sprintf("%0819d", 0))
	for i := range n {
		for at := 820; at < len(data); at++ {
			data[at] = byte(random.Uint32())
		}
		e := entry([]string{"routes", "services", "keys", "values"}[i%4], fmt.Sprintf("b51a5c3a-07c9-4c7a-92c2-%012x", i), string(data))
		m[localstore.Ref{Kind: e.Kind, ID: e.ID}] = e
	}
	return m
}

func BenchmarkOpen100k(b *testing.B) {
	for _, mode := range modes {
		b.Run(string(mode), func(b *testing.B) {
			dir := b.TempDir()
			s, _ := open(b, dir, optionsFor(b, mode))
			if err := s.Replace(kibibytes(100_000).state(1)); err != nil {
				b.Fatal(err)
			}
			s.Close()
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				s, _, err := localstore.Open(dir, optionsFor(b, mode))
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

func BenchmarkReplace100k(b *testing.B) {
	s, _ := open(b, b.TempDir(), optionsFor(b, localstore.AES256GCM))
	state := kibibytes(100_000).state(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Replace(state); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReplaceSmall(b *testing.B) {
	s, _ := open(b, b.TempDir(), optionsFor(b, localstore.AES256GCM))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Replace(base.state(1)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s, _ := open(b, b.TempDir(), optionsFor(b, localstore.AES256GCM))
	if err := s.Replace(base.state(1)); err != nil {
		b.Fatal(err)
	}
	c := change(2, []localstore.Entry{entry("routes", "c", string(make([]byte, 1024)))})
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Append(c); err != nil {
			b.Fatal(err)
		}
	}
}
