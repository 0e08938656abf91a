package cachestore

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"
)

// room is a request's memory.
type room []byte

func (r room) Bytes(n int) []byte { return r[:n] }

// BenchmarkFind is finding alone, without the request around it; a thousand values take turns.
func BenchmarkFind(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for name, o := range map[string]Options{"memory": {Memory: 64 << 20}, "disk": options(b, b.TempDir())} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				if o.Disk > 0 {
					o.Disk, o.Folder = 64<<20, b.TempDir()
				}
				c := open(b, o)
				var names []Name
				for n := range 1000 {
					text := fmt.Sprint(n)
					keep(c, text, Labels{}, make([]byte, size))
					names = append(names, sha256.Sum256([]byte(text)))
				}
				now, r := time.Now().Unix(), room(make([]byte, size))
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					if value, _ := c.Find(&names[n*7%1000], true, now, r); value == nil {
						b.Fatal("a miss")
					}
				}
			})
		}
	}
}

// BenchmarkOpenDisk is the start over 64 MiB of responses of 1 KiB.
func BenchmarkOpenDisk(b *testing.B) {
	o := options(b, b.TempDir())
	o.Disk = 128 << 20
	c := open(b, o)
	for n := range 60_000 {
		keep(c, fmt.Sprint(n), Labels{}, make([]byte, 1<<10))
	}
	c.Close()
	for b.Loop() {
		again := New(o)
		again.WantDisk()
		if u := again.disk.Load().usage(); u.Entries < 50_000 {
			b.Fatalf("%+v", u)
		}
		again.Close()
	}
}
