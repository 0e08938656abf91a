package proxy_test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/http1"
)

// BenchmarkEndToEnd is a request over sockets: client, engine, proxy with key-auth among 10,000 routes, access log
// and metrics, upstream connection, origin. cpu-ns/op counts client and origin too.
func BenchmarkEndToEnd(b *testing.B) {
	file, err := os.Create(b.TempDir() + "/access.log")
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	log := accesslog.New(file, accesslog.Common)
	defer log.Flush()
	handler, _ := keyedProxy(b, log)
	server := http1.New(handler, http1.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go server.Serve(l)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET /api/things HTTP/1.1\r\nHost: host-4711.example\r\nUser-Agent: test\r\nAccept: */*\r\napikey: the-key\r\n\r\n")
	buffer := make([]byte, 16<<10)
	b.ReportAllocs()
	start := cpu()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < 1024+200; {
			n, err := conn.Read(buffer)
			if err != nil && err != io.EOF || n == 0 {
				b.Fatal(err)
			}
			got += n
		}
	}
	b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
}

func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
