package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/keepgate/keepgate/e2e/harness"
)

// kmsLine is a result of e2e/bench/kmsown or kmspeer: name, CPU time and allocations of one operation.
var kmsLine = regexp.MustCompile(`(?m)^BenchmarkKMS(\w+)1KiB(?:-\d+)?\s.*?\s([\d.]+) cpu-ns/op.*?\s(\d+) allocs/op`)

// kmsFigures compares what a value of 1 KiB costs a chain with a KMS v2 plugin whose seed is cached with what it costs
// those of k8s.io/apiserver, in turns of one run: both choose by prefix, and say on reading whether it is stale.
func kmsFigures(b *bench) {
	root, programs := b.kmsPrograms()
	costs, allocs := map[string][]float64{}, map[string]float64{}
	for i := range b.effort.peerRounds {
		for j := range programs {
			p := programs[(i+j)%len(programs)]
			command := exec.Command(p.path, append(p.args, "-test.benchtime", "500ms")...)
			command.Dir = root // the test plugin is built from there
			output, err := command.CombinedOutput()
			if err != nil {
				b.Fatalf("%s: %v\n%s", p.who, err, output)
			}
			for _, match := range kmsLine.FindAllStringSubmatch(string(output), -1) {
				costs[p.who+match[1]] = append(costs[p.who+match[1]], b.number(match[2]))
				allocs[p.who+match[1]] = b.number(match[3])
			}
		}
	}
	for _, act := range []struct{ own, peer, figure string }{
		{"Seal", "Seal", "seal 1 KiB under a KMS v2 provider"},
		{"OpenAgain", "OpenAgain", "open it, read before"},
		{"OpenApart", "OpenFirst", "open it, of two writers in turn"}, // k8s.io/apiserver keeps one derived key a place
		{"OpenFirst", "OpenFirst", "open it, no derived key kept"},
	} {
		b.addKMS(act.figure, costs["own"+act.own], costs["peer"+act.peer], allocs["own"+act.own], allocs["peer"+act.peer])
	}
}

func (b *bench) addKMS(name string, own, peer []float64, ownAllocs, peerAllocs float64) {
	if len(own) == 0 || len(own) != len(peer) {
		b.Fatalf("%s: %d results of ours and %d of k8s.io/apiserver's", name, len(own), len(peer))
	}
	var shares []float64
	for i := range own {
		shares = append(shares, own[i]/peer[i])
	}
	b.report.spread(figure{Name: name, Unit: "ns"}, own)
	b.report.spread(figure{Name: name + ", k8s.io/apiserver", Unit: "ns"}, peer)
	b.report.spread(figure{Name: name + ", of k8s.io/apiserver's CPU", Unit: "×", Aim: 0.1, Note: "same round"}, shares)
	b.report.add(figure{Name: name, Value: ownAllocs, Unit: "allocs", Aim: 4, Note: fmt.Sprintf("k8s.io/apiserver's %.0f", peerAllocs)})
}

// kmsProgram prints results of benchmarks.
type kmsProgram struct {
	who, path string
	args      []string
}

// kmsPrograms builds ours, and finds the other one where `make peers` puts it.
func (b *bench) kmsPrograms() (root string, programs []kmsProgram) {
	root, err := harness.Root()
	if err != nil {
		b.Fatalf("%v", err)
	}
	peer := filepath.Join(root, "bin", "peers", "kmspeer")
	if _, err := os.Stat(peer); err != nil {
		b.Fatalf("bin/peers/kmspeer is not there: make peers builds it")
	}
	folder, err := os.MkdirTemp("", "keepgate-kms-")
	if err != nil {
		b.Fatalf("%v", err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(folder) })
	own := filepath.Join(folder, "kmsown.test")
	command := exec.Command("go", "test", "-c", "-o", own, "./e2e/bench/kmsown")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		b.Fatalf("building e2e/bench/kmsown: %v\n%s", err, output)
	}
	return root, []kmsProgram{
		{"own", own, []string{"-test.run", "^$", "-test.bench", "KMS", "-test.benchmem"}},
		{"peer", peer, nil},
	}
}

func (b *bench) number(text string) float64 {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatalf("%q: %v", text, err)
	}
	return number
}
