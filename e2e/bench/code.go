package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/e2e/harness"
)

// measured is one benchmark of the code itself, and what it is to reach.
type measured struct {
	pack, name, figure string
	nanoseconds        float64 // aim; 0: none
	allocs             float64 // aim; 0: none
}

func measurements() []measured {
	return []measured{
		{"./shared/aead", "BenchmarkSeal1KiB", "seal 1 KiB, binary", 2000, 4},
		{"./shared/aead", "BenchmarkOpen1KiB", "open 1 KiB, binary", 2000, 4},
		{"./shared/aead", "BenchmarkSealText1KiB", "seal 1 KiB, stored text", 3000, 4},
		{"./shared/aead", "BenchmarkOpenText1KiB", "open 1 KiB, stored text", 3000, 4},
		{"./dataplane/table", "BenchmarkMatch10k", "match among 10,000 routes", 1000, 0},
		{"./dataplane/proxy", "BenchmarkServeKeyAuth10k", "a key-auth request in process, its upstream's sockets included", 0, 0},
	}
}

// benchLine is a result of go test -bench -benchmem: name, cores, rounds, ns/op, B/op, allocs/op.
var benchLine = regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*?\s(\d+) allocs/op`)

// samples are the results of one benchmark.
type samples struct{ nanoseconds, allocs []float64 }

// codeFigures runs the benchmarks that stand beside the code.
func codeFigures(b *bench) {
	results := map[string]map[string]*samples{} // by package and benchmark
	for _, m := range measurements() {
		if results[m.pack] == nil {
			results[m.pack] = b.goBench(m.pack)
		}
		found := false
		for _, name := range slices.Sorted(maps.Keys(results[m.pack])) {
			variant, is := strings.CutPrefix(name, m.name)
			if !is || (variant != "" && variant[0] != '/') {
				continue
			}
			found = true
			b.addMeasured(m, strings.TrimPrefix(variant, "/"), results[m.pack][name])
		}
		if !found {
			b.Fatalf("%s has no %s", m.pack, m.name)
		}
	}
}

func (b *bench) addMeasured(m measured, variant string, of *samples) {
	name := m.figure
	if variant != "" {
		name += " (" + variant + ")"
	}
	allocs := figure{Name: name, Value: quantile(of.allocs, 0.5), Unit: "allocs"}
	if m.allocs > 0 {
		allocs.Aim = m.allocs
	}
	// The least is the time that nothing else on the machine disturbed.
	b.report.add(figure{
		Name: name, Value: slices.Min(of.nanoseconds), Least: slices.Min(of.nanoseconds), Most: slices.Max(of.nanoseconds), Unit: "ns",
		Aim: m.nanoseconds, Note: "best of " + b.effort.benchCount,
	})
	b.report.add(allocs)
}

func (b *bench) goBench(pack string) map[string]*samples {
	root, err := harness.Root()
	if err != nil {
		b.Fatalf("%v", err)
	}
	command := exec.Command("go", "test", "-run", "^$", "-bench", "1KiB|Match10k|KeyAuth10k", "-benchmem", "-count", b.effort.benchCount, pack)
	command.Dir = root
	output, err := command.CombinedOutput()
	if err != nil {
		b.Fatalf("go test -bench of %s: %v\n%s", pack, err, output)
	}
	results := map[string]*samples{}
	for _, match := range benchLine.FindAllStringSubmatch(string(output), -1) {
		nanoseconds, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			b.Fatalf("%q: %v", match[0], err)
		}
		allocs, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			b.Fatalf("%q: %v", match[0], err)
		}
		of := results[match[1]]
		if of == nil {
			of = &samples{}
			results[match[1]] = of
		}
		of.nanoseconds, of.allocs = append(of.nanoseconds, nanoseconds), append(of.allocs, allocs)
	}
	return results
}

// sizeFigures weighs the binaries.
func sizeFigures(b *bench) {
	folder, err := harness.Binaries()
	if err != nil {
		b.Fatalf("%v", err)
	}
	for _, binary := range []struct {
		name string
		aim  float64
	}{{"keepgate-dp", 20}, {"keepgate-cp", 0}} {
		info, err := os.Stat(filepath.Join(folder, binary.name))
		if err != nil {
			b.Fatalf("%v", err)
		}
		b.report.add(figure{Name: "binary " + binary.name, Value: float64(info.Size()) / 1e6, Unit: "MB", Aim: binary.aim})
	}
}
