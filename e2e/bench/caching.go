package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/load"
)

// cacheFigures compares a hit that is read from the sealed disk with one from memory: the same program, once with its memory, and once with
// a memory of 0 bytes, so that every hit reads a file and opens what it has read.
func cacheFigures(b *bench) {
	c := harness.New(b)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(strings.Repeat("x", size)))
	}))
	b.Cleanup(origin.Close)
	cp := c.ControlPlane("cp", "--db-update-frequency", "5s")
	cp.Core = restCore
	cp.Start()
	cp.Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices: [{name: s, url: %q, routes: [{name: r, paths: [/]}], "+
		"plugins: [{name: proxy-cache, config: {strategy: disk, cache_ttl: 86400}}]}]\n", origin.URL))
	gates := map[string]proxied{}
	for name, memory := range map[string]string{"memory": "64m", "disk": "0"} {
		dp := c.DataPlane(name, cp, "--proxy-cache-memory-size", memory)
		dp.Core = proxyCore
		dp.Launch()
		for _, size := range []int{1 << 10, 16 << 10} {
			path := fmt.Sprint("/", size)
			for deadline := time.Now().Add(30 * time.Second); dp.Await(200, path, "Host", "bench.example").Header.Get("X-Cache-Status") != "Hit"; {
				if time.Now().After(deadline) {
					b.Fatalf("%s keeps nothing", name)
				}
			}
		}
		gates[name] = proxied{name, netip.MustParseAddrPort(dp.Proxy), dp.Pid()}
	}
	for _, size := range []int{1 << 10, 16 << 10} {
		var ratios, memory, disk []float64
		for i := range b.effort.rounds {
			costs := map[string]float64{}
			for j, name := range []string{"memory", "disk", "memory"}[i%2 : i%2+2] {
				if j == 0 {
					b.hits(gates[name], size, time.Second/4) // warm
				}
				costs[name] = b.hits(gates[name], size, b.effort.perRun)
			}
			ratios, memory, disk = append(ratios, costs["disk"]/costs["memory"]), append(memory, costs["memory"]), append(disk, costs["disk"])
		}
		what := fmt.Sprintf("%d KiB", size>>10)
		b.report.spread(figure{Name: "CPU per hit through the sealed disk cache, " + what, Unit: "× memory", Aim: 2, Note: "no memory before the disk"}, ratios)
		b.report.spread(figure{Name: "CPU per hit from memory, " + what, Unit: "µs"}, memory)
		b.report.spread(figure{Name: "CPU per hit through the disk, " + what, Unit: "µs"}, disk)
	}
}

// hits is what a hit costs, in µs on a core.
func (b *bench) hits(p proxied, size int, length time.Duration) float64 {
	before, err := onCPU(p.pid)
	if err != nil {
		b.Fatalf("%v", err)
	}
	result, err := load.Run(load.Plan{
		Address: p.address, Connections: connections, For: length, Core: restCore,
		Request: []byte(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\n\r\n", size)),
	})
	if err != nil || result.Failures > 0 || result.Requests == 0 {
		b.Fatalf("load on %s: %d of %d failed, %v", p.name, result.Failures, result.Requests+result.Failures, err)
	}
	after, err := onCPU(p.pid)
	if err != nil {
		b.Fatalf("%v", err)
	}
	return float64((after - before).Nanoseconds()) / 1000 / float64(result.Requests)
}
