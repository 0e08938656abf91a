package http1_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

const request = "GET /a/b?c=d HTTP/1.1\r\nHost: example.test\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\napikey: 0123456789abcdef\r\n\r\n"

// fixedOrigin answers every request, which must end in a line feed, with the same bytes and allocates nothing.
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
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					if buf[n-1] != '\n' {
						continue
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

// forward is the least a proxy can do.
type forward struct {
	addr string
	pool *client.Pool
}

func (f *forward) Serve(ex *exchange.Exchange) {
	head := client.Head{Target: ex.Request.Target, Host: ex.Request.Host}
	c := f.pool.Take(ex.Moment())
	if c == nil {
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			ex.Answer(502, "", nil)
			return
		}
		c = f.pool.Adopt(nc)
	}
	ex.Request.Header.Set("X-Request-Id", ex.ID())
	if err := c.RoundTrip(ex, &head); err != nil {
		ex.Answer(502, "", nil)
		return
	}
	ex.Response.Header.Set("Via", "1.1 bench")
}

func (*forward) Finish(*exchange.Exchange) {}

// loop sends request and reads one response, again and again, without allocating.
func loop(t testing.TB, engine http1test.Engine, request []byte) func() {
	nc, err := net.Dial("tcp", http1test.Start(t, engine))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	in, size := make([]byte, 8192), 0
	return func() {
		if _, err := nc.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := nc.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(in, []byte("HTTP/1.1 200 OK\r\n")) || size != 0 && n != size {
			t.Fatalf("%q", in[:n])
		}
		size = n
	}
}

// shapes are the requests that the steady state must not allocate for.
func shapes() map[string][]byte {
	return map[string][]byte{
		"GET":         []byte(request),
		"POST 16 KiB": append(append([]byte("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 16384\r\n\r\n"), bytes.Repeat([]byte("x"), 16383)...), '\n'),
	}
}

func forwarding(t testing.TB) http1test.Engine {
	f := &forward{fixedOrigin(t), client.NewPool(new(wire.Blocks), client.Options{})}
	t.Cleanup(f.pool.Close)
	return http1.New(f, http1.Options{})
}

// TestNoAllocations counts over the whole path: client's socket, engine, upstream connection and back. The clock's once-a-second
// work (Date, deadlines) stays below one allocation in a thousand requests. Not parallel: it counts for the process.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, raw := range shapes() {
		once := loop(t, forwarding(t), raw)
		for range 200 {
			once()
		}
		if allocs := testing.AllocsPerRun(2000, once); allocs != 0 {
			t.Errorf("%s: %v allocations per request", name, allocs)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	for name, raw := range shapes() {
		b.Run(name, func(b *testing.B) {
			once := loop(b, forwarding(b), raw)
			once()
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				once()
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op") // client and origin included
		})
	}
}

func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkIdleConnections measures what an idle keep-alive connection holds after a collection: heap and stacks of the process,
// less what the clients' ends here cost (a net.Conn each).
func BenchmarkIdleConnections(b *testing.B) {
	const conns = 2000
	addr := http1test.Start(b, forwarding(b))
	held := func() uint64 {
		for range 4 { // stacks shrink by half at each collection
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	// What one end costs by itself.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	before := held()
	var pairs []net.Conn
	for range conns / 2 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		pairs = append(pairs, nc, far)
	}
	perEnd := float64(held()-before) / conns
	for _, nc := range pairs {
		_ = nc.Close()
	}
	before = held()
	buf := make([]byte, 8192)
	for range conns {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, request); err != nil {
			b.Fatal(err)
		}
		if _, err := nc.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	each := float64(held()-before)/conns - perEnd
	b.ReportMetric(each, "B/conn")
	b.ReportMetric(perEnd, "B/client-end")
	b.ReportMetric(0, "ns/op")
}
