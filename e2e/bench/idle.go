package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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
	cp.Admin().Push("_format_version: '3.0'\nservices:\n- {name: s, url: '" + upstream.URL + "', routes: [{name: r, paths: [/]}]}\n")
	for i, kind := range []struct {
		name string
		open func(dp *harness.DataPlane) (net.Conn, error)
	}{
		{"plain", func(dp *harness.DataPlane) (net.Conn, error) { return net.Dial("tcp", dp.Proxy) }},
		{"TLS", func(dp *harness.DataPlane) (net.Conn, error) { return dialTLS(dp.TLS, "http/1.1") }},
		{"HTTP/2", func(dp *harness.DataPlane) (net.Conn, error) { return dialTLS(dp.TLS, "h2") }},
	} {
		dp := c.DataPlane(fmt.Sprintf("edge-%d", i), cp)
		dp.Launch()
		dp.Await(200, "/")
		time.Sleep(2 * time.Second)
		if i == 0 {
			b.report.add(figure{Name: "idle data plane, RSS", Value: b.residentKiB(dp.Pid()) / 1024, Unit: "MiB", Aim: 40, Note: "linked, one route"})
		}
		b.weigh(dp, n, kind.name, func() (net.Conn, error) { return kind.open(dp) })
		dp.Stop()
	}
}

// weigh opens connections and says what they cost.
func (b *bench) weigh(dp *harness.DataPlane, n int, kind string, open func() (net.Conn, error)) {
	b.collect(dp)
	residentBefore, heapBefore := b.residentKiB(dp.Pid()), b.inUse(dp)
	closeAll := b.openIdle(n, open)
	defer closeAll()
	b.collect(dp)
	b.collect(dp) // stacks that a handshake made grow shrink by half at each collection
	total := b.residentKiB(dp.Pid())
	resident := (total - residentBefore) / float64(n)
	whole := figure{Name: fmt.Sprintf("%d idle %s connections, RSS", n, kind), Value: total / 1024, Unit: "MiB", Note: "the whole data plane"}
	one := figure{
		Name: "an idle " + kind + " connection", Value: (b.inUse(dp) - heapBefore) / 1024 / float64(n), Unit: "KiB",
		Note: fmt.Sprintf("heap and stacks in use after a GC; %d connections, each had one request", n),
	}
	switch kind {
	case "plain":
		whole.Aim, one.Aim = 150, 8
	case "TLS":
		whole.Aim = 150
	}
	b.report.add(whole)
	b.report.add(one)
	b.report.add(figure{Name: "an idle " + kind + " connection, RSS", Value: resident, Unit: "KiB", Note: "with what the collector keeps for later"})
}

// dialTLS shakes hands. Nobody checks who is there.
func dialTLS(address, protocol string) (net.Conn, error) {
	return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
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
func (b *bench) openIdle(n int, dial func() (net.Conn, error)) (closeAll func()) {
	var open []net.Conn
	closeAll = func() {
		for _, connection := range open {
			_ = connection.Close()
		}
	}
	for range n {
		connection, err := dial()
		if err != nil {
			closeAll()
			b.Fatalf("connection %d: %v", len(open), err)
		}
		open = append(open, connection)
		secure, ok := connection.(*tls.Conn)
		if ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
			err = askHTTP2(connection)
		} else {
			err = askHTTP1(connection)
		}
		if err != nil {
			b.Fatalf("connection %d: %v", len(open), err)
		}
	}
	return closeAll
}

func askHTTP1(connection net.Conn) error {
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"); err != nil {
		return err
	}
	_, err := connection.Read(make([]byte, 16<<10))
	return err
}

// askHTTP2 makes the first request of a connection and returns at the end of its stream.
func askHTTP2(connection net.Conn) error {
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "bench.example"}, {":path", "/"}} {
		if err := fields.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(connection, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(connection, connection)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		if settings, ok := frame.(*http2.SettingsFrame); ok && !settings.IsAck() {
			err = framer.WriteSettingsAck()
		}
		if err != nil || frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return err
		}
	}
}
