package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// peer is one proxy with all of its ports.
type peer struct {
	name  string
	pid   int
	ports map[wireKind]netip.AddrPort
}

// peersFixture is what all peers share: who is behind them, and the certificate that they show.
type peersFixture struct {
	c             *harness.Cluster
	service, grpc netip.AddrPort
	cert, key     string // files
	both          string // a file with both, as HAProxy wants it
}

// peerFigures compares what a request costs with nginx, HAProxy, Caddy and Traefik, case by case in rounds of one run.
func peerFigures(b *bench) {
	f := b.peersFixture()
	plain := []peer{b.nginxPeer(f), b.keepgatePeer(f), b.haproxyPeer(f), b.caddyPeer(f), b.traefikPeer(f)}
	large, message := b.bodies(f)
	for _, c := range []loadCase{
		{name: "GET 1 KiB", over: clear1, path: "/things", connections: 64},
		{name: "GET 1 KiB, TLS 1.3", over: tls1, path: "/things", connections: 64},
		{name: "POST 16 KiB", over: clear1, path: "/things", body: large, connections: 64, headers: []string{"content-type: application/octet-stream"}},
		{name: "HTTP/2 GET 1 KiB, TLS 1.3", over: tls2, path: "/things", connections: 16, streams: 8},
		{name: "gRPC unary, in clear", over: clear2, path: "/grpc.testing.BenchmarkService/UnaryCall", body: message, connections: 16, streams: 8, headers: []string{
			"content-type: application/grpc", "te: trailers",
		}},
	} {
		b.comparePeers(c, plain)
	}
}

// comparePeers runs a case in rounds against all peers that have the port. The first one is what the others are compared with.
func (b *bench) comparePeers(c loadCase, peers []peer) {
	costs := map[string][]float64{}
	speeds := map[string][]float64{}
	suites := map[string]string{}
	requests := map[string]int{}
	for _, p := range peers {
		few := 400
		b.h2load(c, p.ports[c.over], few) // warm
		took, _ := b.h2load(c, p.ports[c.over], few)
		if took < b.effort.perRun/20 {
			few *= 10
			took, _ = b.h2load(c, p.ports[c.over], few)
		}
		requests[p.name] = max(few, int(float64(few)*b.effort.perRun.Seconds()/took.Seconds()))
	}
	for i := range b.effort.peerRounds {
		for j := range peers {
			p := peers[(i+j)%len(peers)]
			before, err := onCPU(p.pid)
			if err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
			took, suite := b.h2load(c, p.ports[c.over], requests[p.name])
			after, err := onCPU(p.pid)
			if err != nil {
				b.Fatalf("%s: %v", p.name, err)
			}
			costs[p.name] = append(costs[p.name], float64((after-before).Nanoseconds())/1000/float64(requests[p.name]))
			speeds[p.name] = append(speeds[p.name], float64(requests[p.name])/took.Seconds())
			suites[p.name] = suite
		}
	}
	for _, p := range peers[1:] {
		f := figure{Name: fmt.Sprintf("%s: CPU of %s", c.name, p.name), Unit: "× " + peers[0].name, Note: suites[p.name]}
		b.report.spread(f, ratios(costs[p.name], costs[peers[0].name]))
	}
	for _, p := range peers {
		b.report.spread(figure{Name: fmt.Sprintf("%s: %s", c.name, p.name), Unit: "µs a request", Note: fmt.Sprintf("%.0f requests/s; %s", median(speeds[p.name]), suites[p.name])}, costs[p.name])
	}
	b.aims(c, costs)
}

// aims holds our cost against those that were promised.
func (b *bench) aims(c loadCase, costs map[string][]float64) {
	ours := costs["keepgate"]
	aim := func(of string, most float64) {
		if theirs, ran := costs[of]; ran {
			b.report.spread(figure{Name: fmt.Sprintf("%s: keepgate against %s", c.name, of), Unit: "× " + of, Aim: most}, ratios(ours, theirs))
		}
	}
	switch {
	case strings.HasPrefix(c.name, "HTTP/2"):
		aim("nginx", 2.5)
		aim("caddy", 1.0/3)
	case c.path == hotPath:
		aim("nginx", 1)
		aim("traefik", 1.0/5)
		aim("caddy", 1.0/7)
	case c.over == clear1 && c.body == "":
		aim("traefik", 1.0/5)
		aim("caddy", 1.0/7)
	}
}

func ratios(of, to []float64) (list []float64) {
	for i := range of {
		list = append(list, of[i]/to[i])
	}
	return list
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// peersFixture starts what is behind the peers.
func (b *bench) peersFixture() *peersFixture {
	c := harness.New(b)
	f := &peersFixture{c: c, service: b.upstream(c, restCore).address}
	f.cert, f.key = filepath.Join(c.Folder, "peer.crt"), filepath.Join(c.Folder, "peer.key")
	cert, key, err := selfSigned()
	if err != nil {
		b.Fatalf("%v", err)
	}
	f.both = filepath.Join(c.Folder, "peer.pem")
	for file, text := range map[string][]byte{f.cert: cert, f.key: key, f.both: append(cert, key...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			b.Fatalf("%v", err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatalf("%v", err)
	}
	listen := harness.FreeAddress(b)
	back := c.Program("grpc-upstream", self, "-serve-grpc", listen)
	back.Core = restCore
	back.Launch()
	f.grpc = netip.MustParseAddrPort(listen)
	b.awaitPort("grpc-upstream", back, listen)
	return f
}

// bodies writes what is posted: 16 KiB of nothing, and an empty message in gRPC's frame.
func (b *bench) bodies(f *peersFixture) (large, message string) {
	large, message = filepath.Join(f.c.Folder, "16k"), filepath.Join(f.c.Folder, "message")
	if err := os.WriteFile(large, make([]byte, 16<<10), 0o600); err != nil {
		b.Fatalf("%v", err)
	}
	if err := os.WriteFile(message, make([]byte, 5), 0o600); err != nil {
		b.Fatalf("%v", err)
	}
	return large, message
}

// start runs a peer on the proxies' core and waits for its ports.
func (b *bench) start(f *peersFixture, name, program string, ports map[wireKind]string, env []string, args ...string) peer {
	process := f.c.Program(name, program, args...)
	process.Core, process.Group, process.Env = proxyCore, true, env
	process.Launch()
	p := peer{name: name, ports: map[wireKind]netip.AddrPort{}}
	for kind, address := range ports {
		b.awaitPort(name, process, address)
		p.ports[kind] = netip.MustParseAddrPort(address)
	}
	p.pid = process.Pid()
	return p
}

func (b *bench) awaitPort(name string, process *harness.Process, address string) {
	harness.Eventually(b, name, func() string {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			if process.Pid() == 0 {
				b.Fatalf("%s ended: %s", name, process.Log())
			}
			return err.Error()
		}
		_ = connection.Close()
		return ""
	})
}
