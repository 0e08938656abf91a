package http2server_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http2server"
)

// fixedOrigin answers every request with the same bytes and allocates nothing.
func fixedOrigin(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	response := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: origin\r\nContent-Length: 1024\r\n\r\n"), bytes.Repeat([]byte("x"), 1024)...)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := nc.Read(buf); err != nil {
						return
					}
					if _, err := nc.Write(response); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// h2load is a client that sends the same request on stream after stream, many at once, and allocates nothing.
type h2load struct {
	t      testing.TB
	nc     net.Conn
	r      *bufio.Reader
	block  []byte
	next   uint32
	unread int
}

func newH2Load(t testing.TB, addr string) *h2load {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	c := &h2load{t: t, nc: nc, r: bufio.NewReaderSize(nc, 64<<10), next: 1}
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "http"}, {":authority", "example.test"}, {":path", "/a/b?c=d"}, {"user-agent", "bench/1.0"}, {"accept", "*/*"}, {"apikey", "0123456789abcdef"},
	} {
		c.block = append(c.block, 0)
		for _, text := range f {
			c.block = append(append(c.block, byte(len(text))), text...)
		}
	}
	_, _ = io.WriteString(nc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	c.window(1 << 30)
	return c
}

func (c *h2load) window(n uint32) {
	_, _ = c.nc.Write(binary.BigEndian.AppendUint32([]byte{0, 0, 4, 8, 0, 0, 0, 0, 0}, n))
}

// round sends n requests and reads the n responses.
func (c *h2load) round(n int) {
	var out [4096]byte
	b := out[:0]
	for range n {
		b = append(b, 0, 0, byte(len(c.block)), 1, 5)
		b = binary.BigEndian.AppendUint32(b, c.next)
		b = append(b, c.block...)
		c.next += 2
	}
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
	for ended := 0; ended < n; {
		var head [9]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			c.t.Fatal(err)
		}
		size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if _, err := c.r.Discard(size); err != nil {
			c.t.Fatal(err)
		}
		switch kind := head[3]; {
		case kind == 3 || kind == 7:
			c.t.Fatalf("frame %d", kind)
		case kind == 0:
			if c.unread += size; c.unread > 1<<29 {
				c.window(uint32(c.unread))
				c.unread = 0
			}
		}
		if head[3] < 2 && head[4]&1 != 0 {
			ended++
		}
	}
}

// BenchmarkRequest compares with the standard library's server. Client and origin are in the figures.
func BenchmarkRequest(b *testing.B) {
	for name, engine := range map[string]func(exchange.Handler) http1test.Engine{
		"native": func(h exchange.Handler) http1test.Engine { return http2server.New(h, http2server.Options{}) },
		"std":    func(h exchange.Handler) http1test.Engine { return std.New(h, std.Options{}) },
	} {
		b.Run(name, func(b *testing.B) {
			const streams = 8
			proxy := http1test.NewProxy(b, fixedOrigin(b))
			proxy.Forget = true
			c := newH2Load(b, http1test.Start(b, engine(proxy)))
			for range 100 {
				c.round(streams)
			}
			b.ReportAllocs()
			start := cpu()
			n := 0
			for b.Loop() {
				if n++; n%streams == 0 {
					c.round(streams)
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
