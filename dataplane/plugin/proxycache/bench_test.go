package proxycache_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/cachestore"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/proxycache"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

// BenchmarkHit is a whole request that is answered from the cache, over one connection: from memory, and from the disk with no memory before
// it, where each hit reads a file and opens what it has read. Sixteen responses take turns.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, strategy := range []string{"memory", "disk"} {
			b.Run(fmt.Sprintf("%s/%dKiB", strategy, size>>10), func(b *testing.B) { benchmarkHit(b, strategy, size) })
		}
	}
}

func benchmarkHit(b *testing.B, strategy string, size int) {
	ring, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		b.Fatal(err)
	}
	o := cachestore.Options{Memory: 64 << 20}
	if strategy == "disk" {
		o = cachestore.Options{Disk: 64 << 20, Folder: b.TempDir(), Keys: ring, Node: "n", Environment: "e"}
	}
	cache := cachestore.New(o)
	b.Cleanup(func() { cache.Close() })
	g := plugintest.New(b, proxycache.New(proxycache.Options{Cache: cache}))
	g.Configure(strings.Replace(configured(""), "memory", strategy, 1))
	g.Origin.Answer(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []string{"Content-Type", "text/plain", "ETag", `"v1"`, "Cache-Control", "max-age=600", "X-Served-By", "origin"}, 0, strings.Repeat("x", size))
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL(plugintest.HTTP1), "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	var requests [16][]byte
	for n := range requests {
		target := fmt.Sprint("/", n)
		for deadline := time.Now().Add(30 * time.Second); g.Get(target, "Host", "b").Header.Get("X-Cache-Status") != "Hit"; {
			if time.Now().After(deadline) {
				b.Fatal("nothing is kept")
			}
		}
		requests[n] = []byte("GET " + target + " HTTP/1.1\r\nHost: b\r\n\r\n")
	}
	asked, buffer := g.Origin.Requests(), make([]byte, 64<<10)
	whole := 0 // bytes of an answer: they are all as long
	exchange := func(n int) {
		if _, err := conn.Write(requests[n%len(requests)]); err != nil {
			b.Fatal(err)
		}
		for got := 0; got == 0 || got < whole; {
			read, err := conn.Read(buffer[got:])
			if err != nil {
				b.Fatal(err)
			}
			if got += read; whole == 0 {
				if head := strings.Index(string(buffer[:got]), "\r\n\r\n"); head >= 0 {
					whole = head + 4 + size
				}
			}
		}
	}
	exchange(0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		exchange(n)
	}
	if g.Origin.Requests() != asked {
		b.Error("not all were hits")
	}
}
