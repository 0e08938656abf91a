// Command bench measures what Keepgate promises and prints each figure beside its aim: `make bench`.
//
// It runs the real binaries. CPU is on-CPU time of a process tree from /proc/*/task/*/schedstat, compared only within
// one interleaved run as ratios, since a shared machine's seconds mean little; throughput and latency are printed
// for what they are. BENCH_QUICK=1 makes a short run of it. Nothing here is a test: an aim that is missed is printed
// as such, and the exit status stays 0.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// effort is how much is done.
type effort struct {
	rounds     int
	perRun     time.Duration
	changes    int
	entities   []int
	idle       int
	benchCount string
	secrets    int
	windows    int
	peerRounds int
	wraps      int
}

func full() effort {
	return effort{rounds: 15, perRun: 3 * time.Second, changes: 200, entities: []int{10_000, 100_000}, idle: 10_000, benchCount: "5", secrets: 1_000_000, windows: 20, peerRounds: 7, wraps: 5000}
}

func quick() effort {
	return effort{rounds: 3, perRun: 2 * time.Second, changes: 50, entities: []int{10_000}, idle: 1000, benchCount: "1", secrets: 300_000, windows: 6, peerRounds: 2, wraps: 1000}
}

// section is one part of the run.
type section struct {
	name string
	run  func(*bench)
}

// sections are all parts, in order.
func sections() []section {
	return []section{
		{"code", codeFigures},
		{"kms", kmsFigures},
		{"wrap", wrapFigures},
		{"size", sizeFigures},
		{"proxy", proxyFigures},
		{"peers", peerFigures},
		{"gateways", gatewayFigures},
		{"cache", cacheFigures},
		{"idle", idleFigures},
		{"change", changeFigures},
		{"environments", environmentFigures},
		{"apply", applyFigures},
		{"reencrypt", reencryptFigures},
	}
}

func main() {
	out := flag.String("json", "", "also write the figures to this file")
	only := flag.String("only", "", "run only these sections, as code,proxy: code, kms, wrap, size, proxy, peers, gateways, cache, idle, change, environments, apply, reencrypt")
	grpcAddress := flag.String("serve-grpc", "", "be the gRPC service behind the proxies, at this address; for the program itself")
	flag.Parse()
	if *grpcAddress != "" {
		fmt.Fprintln(os.Stderr, "bench:", serveGRPC(*grpcAddress))
		os.Exit(1)
	}
	b := &bench{effort: full(), report: &report{Begun: time.Now(), Machine: machine()}}
	if os.Getenv("BENCH_QUICK") != "" {
		b.effort = quick()
	}
	fmt.Printf("%s, %d cores, load %s\n", b.report.Machine.CPU, runtime.NumCPU(), b.report.Machine.Load)
	b.tidyWhenStopped()
	failed := false
	for _, s := range sections() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		failed = !b.guarded(s) || failed
	}
	harness.Discard()
	b.report.print(os.Stdout)
	if *out != "" {
		if err := b.report.write(*out); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	if failed {
		os.Exit(1) // something could not be measured
	}
}
