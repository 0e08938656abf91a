package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
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
	ours := map[string]float64{}
	for i, kind := range idleKinds() {
		dp := c.DataPlane(fmt.Sprintf("edge-%d", i), cp)
		dp.Launch()
		dp.Await(200, "/")
		time.Sleep(2 * time.Second)
		if i == 0 {
			b.report.add(figure{Name: "idle data plane, RSS", Value: b.residentKiB(dp.Pid()) / 1024, Unit: "MiB", Aim: 40, Note: "linked, one route"})
		}
		address := dp.TLS
		if kind.over == clear1 {
			address = dp.Proxy
		}
		ours[kind.name] = b.weigh(dp, n, kind, address)
		dp.Stop()
	}
	b.idlePeers(n, ours)
}

// idleKind is a way to be connected.
type idleKind struct {
	name string
	over wireKind
	dial func(address string) (net.Conn, error)
}

func idleKinds() []idleKind {
	return []idleKind{
		{"plain", clear1, func(address string) (net.Conn, error) { return net.Dial("tcp", address) }},
		{"TLS", tls1, func(address string) (net.Conn, error) { return dialTLS(address, "http/1.1") }},
		{"HTTP/2", tls2, func(address string) (net.Conn, error) { return dialTLS(address, "h2") }},
	}
}

// weigh opens connections and says what they cost. It returns what is resident with them, in KiB, once all is quiet.
func (b *bench) weigh(dp *harness.DataPlane, n int, kind idleKind, address string) (total float64) {
	b.collect(dp)
	residentBefore, heapBefore := b.residentKiB(dp.Pid()), b.inUse(dp)
	closeAll := b.openIdle(n, func() (net.Conn, error) { return kind.dial(address) })
	defer closeAll()
	total = b.settled(dp.Pid())
	b.collect(dp)
	whole := figure{Name: fmt.Sprintf("%d idle %s connections, RSS", n, kind.name), Value: total / 1024, Unit: "MiB", Aim: 150, Note: "the whole data plane, once it is quiet"}
	one := figure{
		Name: "an idle " + kind.name + " connection", Value: (b.inUse(dp) - heapBefore) / 1024 / float64(n), Unit: "KiB",
		Note: fmt.Sprintf("heap and stacks in use after a GC; %d connections, each had one request", n),
	}
	if kind.over == clear1 {
		one.Aim = 8
	}
	b.report.add(whole)
	b.report.add(one)
	b.report.add(figure{
		Name: "an idle " + kind.name + " connection, RSS", Value: (total - residentBefore) / float64(n), Unit: "KiB",
		Note: fmt.Sprintf("once it is quiet; %.1f while others make garbage", (b.residentKiB(dp.Pid())-residentBefore)/float64(n)),
	})
	return total
}

// settled is what a process and its descendants have resident, in KiB, once it falls no more: connections that have been silent for seconds
// cost less, and runtimes give memory back late.
func (b *bench) settled(pid int) (least float64) {
	const still, most = 12 * time.Second, time.Minute
	begin := time.Now()
	for fell := begin; time.Since(fell) < still && time.Since(begin) < most; time.Sleep(time.Second) {
		now := 0.0
		for _, id := range tree(pid) {
			now += b.residentKiB(id)
		}
		if least == 0 || now < least*0.99 {
			fell = time.Now()
		}
		least = now
	}
	return least
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
	closeAll, err := openIdle(n, dial)
	if err != nil {
		closeAll()
		b.Fatalf("%v", err)
	}
	return closeAll
}

func openIdle(n int, dial func() (net.Conn, error)) (closeAll func(), err error) {
	var open []net.Conn
	closeAll = func() {
		for _, connection := range open {
			_ = connection.Close()
		}
	}
	for i := range n {
		connection, err := dial()
		if err != nil {
			return closeAll, fmt.Errorf("connection %d: %w", i, err)
		}
		open = append(open, connection)
		secure, ok := connection.(*tls.Conn)
		if ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
			err = askHTTP2(connection)
		} else {
			err = askHTTP1(connection)
		}
		if err != nil {
			return closeAll, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return closeAll, nil
}

func askHTTP1(connection net.Conn) error {
	if _, err := io.WriteString(connection, "GET / HTTP/1.1\r\nHost: "+connection.RemoteAddr().String()+"\r\n\r\n"); err != nil {
		return err
	}
	answer := make([]byte, 16<<10)
	n, err := connection.Read(answer)
	if line, _, _ := strings.Cut(string(answer[:n]), "\r\n"); err == nil && !strings.HasPrefix(line, "HTTP/1.1 200") {
		err = errors.New(line)
	}
	return err
}

// askHTTP2 makes the first request of a connection and returns at the end of its stream.
func askHTTP2(connection net.Conn) error {
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", connection.RemoteAddr().String()}, {":path", "/"}} {
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
