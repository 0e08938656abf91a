package main

import (
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/e2e/harness"
)

// idleFigures weighs a data plane that does nothing, and each connection that does nothing.
func idleFigures(b *bench) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatalf("%v", err)
	}
	n := b.effort.idle
	if most := int(limit.Max) - 200; n > most {
		n = most
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatalf("%v", err)
	}
	c := harness.New(b)
	upstream := harness.NewUpstream(b)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	cp.Admin().Push("_format_version: '3.0'\nservices:\n- {name: s, url: '" + upstream.URL + "', routes: [{name: r, paths: [/]}]}\n")
	dp.Await(200, "/")
	time.Sleep(2 * time.Second)
	b.report.add(figure{Name: "idle data plane, RSS", Value: b.residentKiB(dp.Pid()) / 1024, Unit: "MiB", Aim: 40, Note: "linked, one route"})

	b.collect(dp)
	residentBefore, heapBefore := b.residentKiB(dp.Pid()), b.inUse(dp)
	closeAll := b.openIdle(dp.Proxy, n)
	defer closeAll()
	b.collect(dp)
	total := b.residentKiB(dp.Pid())
	resident := (total - residentBefore) / float64(n)
	b.report.add(figure{Name: fmt.Sprintf("%d idle connections, RSS", n), Value: total / 1024, Unit: "MiB", Aim: 150, Note: "the whole data plane"})
	inUse := (b.inUse(dp) - heapBefore) / 1024 / float64(n)
	b.report.add(figure{
		Name: "an idle plain connection", Value: inUse, Unit: "KiB", Aim: 8,
		Note: fmt.Sprintf("heap and stacks in use after a GC; %d connections, each had one request", n),
	})
	b.report.add(figure{Name: "an idle plain connection, RSS", Value: resident, Unit: "KiB", Note: "with what the collector keeps for later"})
}

// inUse is what the heap and the stacks hold, in bytes.
func (b *bench) inUse(dp *harness.DataPlane) float64 {
	return b.gauge(dp, "go_memstats_heap_inuse_bytes") + b.gauge(dp, "go_memstats_stack_inuse_bytes")
}

// collect returns after two whole collections: reading metrics makes enough garbage to bring them about.
func (b *bench) collect(dp *harness.DataPlane) {
	const cycles = "go_gc_duration_seconds_count"
	want := b.gauge(dp, cycles) + 2
	deadline := time.Now().Add(3 * time.Minute) // the runtime itself collects every two minutes
	for b.gauge(dp, cycles) < want {
		if time.Now().After(deadline) {
			b.Fatalf("no garbage collection came")
		}
	}
}

// openIdle opens connections that have had one request each and wait for the next.
func (b *bench) openIdle(address string, n int) (closeAll func()) {
	var open []net.Conn
	closeAll = func() {
		for _, connection := range open {
			_ = connection.Close()
		}
	}
	buffer := make([]byte, 16<<10)
	for range n {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			closeAll()
			b.Fatalf("connection %d: %v", len(open), err)
		}
		open = append(open, connection)
		if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"); err != nil {
			b.Fatalf("%v", err)
		}
		if _, err := connection.Read(buffer); err != nil {
			b.Fatalf("%v", err)
		}
	}
	return closeAll
}
