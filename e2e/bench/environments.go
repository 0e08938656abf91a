package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// movesAtOnce is how many changes one installation makes before it is the other's turn.
const movesAtOnce = 10

// environmentFigures moves one route between two environments by its tag, among few entities and among many, turn by
// turn: what the control plane computes and sends for it is not to depend on how many there are.
func environmentFigures(b *bench) {
	few, many := newEnvironments(b, 100), newEnvironments(b, 10_000)
	for range max(1, b.effort.changes/movesAtOnce) {
		few.move(movesAtOnce)
		many.move(movesAtOnce)
	}
	b.report.add(figure{
		Name: "one route's tag among 10,000 entities, CPU of the control plane", Value: many.cpu(), Unit: "ms",
		Note: "three environments, each with a data plane; the write by the Admin API included",
	})
	b.report.add(figure{Name: "one route's tag among 100 entities, CPU of the control plane", Value: few.cpu(), Unit: "ms"})
	b.report.add(figure{Name: "one route's tag, CPU, 10,000 entities against 100", Value: many.cpu() / few.cpu(), Unit: "×", Aim: 1.5})
	b.report.add(figure{Name: "one route's tag among 10,000 entities, bytes to all data planes", Value: many.sent(), Unit: "B", Note: "TLS and heartbeats included"})
	b.report.add(figure{Name: "one route's tag, bytes, 10,000 entities against 100", Value: many.sent() / few.sent(), Unit: "×", Aim: 1.2})
}

// installation is a control plane with three environments, and a data plane of each.
type installation struct {
	*bench
	cp    *harness.ControlPlane
	gates map[string]*harness.DataPlane
	down  atomic.Int64 // bytes to data planes

	moves int
	spent time.Duration
	bytes int64
}

func newEnvironments(b *bench, entities int) *installation {
	c := harness.New(b)
	i := &installation{bench: b, cp: c.ControlPlane("cp", "--log-level", "warn"), gates: map[string]*harness.DataPlane{}}
	i.cp.Start()
	for _, name := range []string{"prod", "staging"} {
		i.cp.Admin().Do(201, http.MethodPost, "/environments", map[string]any{"name": name, "select_tags": []string{name}})
	}
	i.cp.Admin().Push(environmentsFile(entities))
	through := i.forward(i.cp.Cluster)
	for _, name := range []string{"prod", "staging", "default"} {
		c.CP("certs", "issue", name, "--dir", c.Certs(), "--environment", name)
		i.gates[name] = c.DataPlaneWith(name, i.cp, "--cluster-cert", c.Cert(name+".crt"), "--cluster-cert-key", c.Cert(name+".key"),
			"--cluster-ca-cert", c.Cert("ca.crt"), "--cluster-crl", c.Cert("crl.pem"), "--cluster-control-plane", through)
		i.gates[name].Launch()
		i.gates[name].Await(200, "/everywhere")
	}
	i.move(2) // warms up
	i.moves, i.spent, i.bytes = 0, 0, 0
	return i
}

// move changes the route's tag, and waits each time until both data planes act on it.
func (i *installation) move(times int) {
	before, err := onCPU(i.cp.Pid())
	if err != nil {
		i.Fatalf("%v", err)
	}
	began := i.down.Load()
	for n := range times {
		to, from := "prod", "staging"
		if n%2 == 1 {
			to, from = from, to
		}
		i.cp.Admin().Do(200, http.MethodPatch, "/routes/moving", map[string]any{"tags": []string{to}})
		i.gates[to].Await(200, "/moving")
		i.gates[from].Await(404, "/moving")
	}
	after, err := onCPU(i.cp.Pid())
	if err != nil {
		i.Fatalf("%v", err)
	}
	i.moves, i.spent, i.bytes = i.moves+times, i.spent+after-before, i.bytes+i.down.Load()-began
}

func (i *installation) cpu() float64 { return i.spent.Seconds() * 1000 / float64(i.moves) }

func (i *installation) sent() float64 { return float64(i.bytes) / float64(i.moves) }

// forward passes connections on to an address, and counts what comes back.
func (i *installation) forward(address string) string {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		i.Fatalf("%v", err)
	}
	i.Cleanup(func() { listen.Close() })
	go func() {
		for {
			down, err := listen.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", address)
			if err != nil {
				down.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, down); up.Close() }()
			go func() { _, _ = io.Copy(io.MultiWriter(down, counter{&i.down}), up); down.Close() }()
		}
	}()
	return listen.Addr().String()
}

// counter counts what is written to it.
type counter struct{ of *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.of.Add(int64(len(p)))
	return len(p), nil
}

// environmentsFile is a declarative file with about n entities: half of them prod's, half staging's.
func environmentsFile(n int) string {
	var f strings.Builder
	f.WriteString("_format_version: '3.0'\nservices:\n")
	for i := range n / 20 {
		fmt.Fprintf(&f, "- name: service-%d\n  url: http://127.0.0.1:9\n  tags: [%s]\n  plugins: [{name: key-auth, instance_name: checks-%d}]\n  routes:\n", i, half(i), i)
		for j := range 9 {
			fmt.Fprintf(&f, "  - {name: route-%d-%d, paths: [/service-%d/%d]}\n", i, j, i, j)
		}
	}
	end := "  plugins:\n  - {name: request-termination, instance_name: %[1]s, config: {status_code: 200, message: ok}}\n"
	fmt.Fprintf(&f, "routes:\n- name: moving\n  paths: [/moving]\n"+end, "moving")
	fmt.Fprintf(&f, "- name: everywhere\n  tags: [prod, staging]\n  paths: [/everywhere]\n"+end, "everywhere")
	f.WriteString("consumers:\n")
	for i := range n / 4 {
		fmt.Fprintf(&f, "- {username: user-%d, tags: [%s], keyauth_credentials: [{key: bench-key-of-user-%d}]}\n", i, half(i), i)
	}
	return f.String()
}

func half(i int) string { return []string{"prod", "staging"}[i%2] }
