package http1_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1"
)

// TestIdleClients is no test: it is the process that holds the clients' ends for BenchmarkIdleConnectionsTLS.
func TestIdleClients(t *testing.T) {
	addr, count := os.Getenv("IDLE_ADDR"), os.Getenv("IDLE_COUNT")
	if addr == "" {
		t.Skip("started by a benchmark only")
	}
	n, _ := strconv.Atoi(count)
	buffer := make([]byte, 8192)
	var conns []net.Conn
	for range n {
		nc, err := tls.Dial("tcp", addr, &tls.Config{ServerName: "name.test", InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, request)
		if _, err := nc.Read(buffer); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
}

// BenchmarkIdleConnectionsTLS measures what a connection under TLS holds at rest after a collection, after one request.
func BenchmarkIdleConnectionsTLS(b *testing.B) {
	const conns = 1000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	engine := forwarding(b)
	go engine.Serve(tls.NewListener(l, tlsConfig()))
	defer l.Close()
	held := func() uint64 {
		for range 4 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := held()
	clients := exec.Command(os.Args[0], "-test.run=^TestIdleClients$", "-test.v")
	clients.Env = append(os.Environ(), "IDLE_ADDR="+l.Addr().String(), fmt.Sprint("IDLE_COUNT=", conns))
	stdin, _ := clients.StdinPipe()
	stdout, _ := clients.StdoutPipe()
	if err := clients.Start(); err != nil {
		b.Fatal(err)
	}
	defer clients.Wait()
	defer stdin.Close()
	for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != "ready"; {
	}
	for engine.(*http1.Server).Resting() < conns {
		time.Sleep(50 * time.Millisecond)
	}
	b.ReportMetric(float64(held()-before)/conns, "B/conn")
	b.ReportMetric(0, "ns/op")
}
