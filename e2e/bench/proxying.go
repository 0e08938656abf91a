package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/load"
)

const (
	proxyCore   = 0 // the proxy under measurement alone
	restCore    = 1 // the upstream and the load
	connections = 64
	routes      = 10_000
)

// round is one proxy's part in one round.
type round struct {
	perRequest float64 // µs on a core
	throughput float64 // requests a second
	requests   float64
}

// proxyFigures compares what a request costs with nginx, in rounds of A, B, C, A, B, C.
func proxyFigures(b *bench) {
	c := harness.New(b)
	upstream := b.upstream(c, restCore)
	plain := b.nginx(c, "nginx", proxyCore, func(listen string) string {
		return fmt.Sprintf(nginxProxy, upstream.address, fmt.Sprintf(nginxPlain, listen))
	})
	gateway := b.nginx(c, "nginx-gateway", proxyCore, func(listen string) string {
		return fmt.Sprintf(nginxProxy, upstream.address, nginxGateway(listen, routes, nginxHeaders))
	})
	dp := b.gate(c, upstream.address)
	ours := proxied{"keepgate", netip.MustParseAddrPort(dp.Proxy), dp.Pid()}
	all := []proxied{plain, ours, gateway}
	for _, p := range all {
		b.measure(p, time.Second) // warm: connections to the upstream, buffers, branch predictors
	}
	rounds := map[string][]round{}
	for i := range b.effort.rounds {
		for j := range all { // who begins changes, so that nobody always follows the same one
			p := all[(i+j)%len(all)]
			rounds[p.name] = append(rounds[p.name], b.measure(p, b.effort.perRun))
		}
	}
	b.compare(rounds)
	b.allocations(dp, ours)
	b.report.add(figure{Name: "RSS after the load", Value: b.residentKiB(dp.Pid()) / 1024, Unit: "MiB", Note: "10,000 routes, 1,001 consumers"})
}

// gate starts both planes and pushes the routes; the data plane has a core of its own.
func (b *bench) gate(c *harness.Cluster, upstream netip.AddrPort) *harness.DataPlane {
	cp := c.ControlPlane("cp", "--db-update-frequency", "5s") // idle, it leaves the load's core alone
	cp.Core = restCore
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Core = proxyCore
	dp.Launch()
	cp.Admin().Push(routesFile(upstream.String(), routes))
	dp.Await(200, hotPath, "apikey", hotKey)
	dp.Await(401, hotPath)
	return dp
}

func (b *bench) measure(p proxied, length time.Duration) round {
	before, err := onCPU(p.pid)
	if err != nil {
		b.Fatalf("%v", err)
	}
	result, err := load.Run(load.Plan{
		Address: p.address, Connections: connections, For: length, Core: restCore,
		Request: []byte("GET " + hotPath + " HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\napikey: " + hotKey + "\r\n\r\n"),
	})
	if err != nil {
		b.Fatalf("load on %s: %v", p.name, err)
	}
	if result.Failures > 0 || result.Requests == 0 {
		b.Fatalf("%s answered %d of %d wrongly: %.300s", p.name, result.Failures, result.Requests+result.Failures, result.Sample)
	}
	after, err := onCPU(p.pid)
	if err != nil {
		b.Fatalf("%v", err)
	}
	return round{float64((after - before).Nanoseconds()) / 1000 / float64(result.Requests), result.PerSecond(), float64(result.Requests)}
}

// compare makes ratios within each round.
func (b *bench) compare(rounds map[string][]round) {
	ratio := func(of, to string, pick func(round) float64) (ratios []float64) {
		for i, r := range rounds[of] {
			ratios = append(ratios, pick(r)/pick(rounds[to][i]))
		}
		return ratios
	}
	cost := func(r round) float64 { return r.perRequest }
	speed := func(r round) float64 { return r.throughput }
	note := fmt.Sprintf("%d rounds; GET 1 KiB, %d connections", len(rounds["nginx"]), connections)
	b.report.spread(figure{Name: "CPU per request, key-auth among 10,000 routes", Unit: "× nginx", Aim: 1.2, Note: note}, ratio("keepgate", "nginx", cost))
	b.report.spread(figure{Name: "CPU per request, nginx doing the same", Unit: "× nginx", Note: "maps of keys, 10,000 locations, the same headers"}, ratio("nginx-gateway", "nginx", cost))
	b.report.spread(figure{Name: "CPU per request against nginx doing the same", Unit: "× nginx"}, ratio("keepgate", "nginx-gateway", cost))
	b.report.spread(figure{Name: "throughput", Unit: "× nginx", Note: "one core each"}, ratio("keepgate", "nginx", speed))
	for _, name := range []string{"keepgate", "nginx", "nginx-gateway"} {
		var costs, speeds []float64
		for _, r := range rounds[name] {
			costs, speeds = append(costs, r.perRequest), append(speeds, r.throughput)
		}
		b.report.spread(figure{Name: "CPU per request, " + name, Unit: "µs"}, costs)
		b.report.spread(figure{Name: "throughput, " + name, Unit: "requests/s"}, speeds)
	}
}

// allocations counts what the data plane allocates on its heap for each request. A short and a long run are compared,
// so that what the connections cost cancels out, less what it allocates in the same time without load.
func (b *bench) allocations(dp *harness.DataPlane, ours proxied) {
	const counter = "go_memstats_mallocs_total"
	count := func(act func()) float64 {
		before := b.gauge(dp, counter)
		act()
		return b.gauge(dp, counter) - before
	}
	short, long := b.effort.perRun/4, b.effort.perRun*3
	var few, many float64
	for range 10 { // until reading the counter itself always costs the same
		count(func() {})
	}
	idle := count(func() { time.Sleep(long - short) }) - count(func() {})
	grown := -count(func() { few = b.measure(ours, short).requests }) + count(func() { many = b.measure(ours, long).requests })
	b.report.add(figure{
		Name: "allocations per request in steady state", Value: max(0, (grown-idle)/(many-few)), Unit: "allocs", Aim: 0.01,
		Note: fmt.Sprintf("%.0f for %.0f requests, less %.0f in the same time without load; the aim is 0", grown, many-few, idle),
	})
}
