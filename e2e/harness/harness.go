// Package harness runs Keepgate as its users do: the real binaries as processes of their own, on free loopback
// ports and in temporary folders, with certificates from the real command line and an upstream that remembers
// what reached it.
//
// It serves scenario tests and benchmarks alike, so it asks of its caller only [T], which *testing.T is. It
// knows the product from outside alone: flags, ports, files and HTTP. What a scenario proves is its own.
//
//	c := harness.New(t)             // a certificate authority
//	cp := c.ControlPlane("cp")      // its own key and certificate, SQLite, keyring on
//	cp.Start()
//	dp := c.DataPlane("edge-1", cp) // the key is made on the node, the control plane signs
//	dp.Start()
//	cp.Admin().Push(`…`)
//
// Every process ends with the one that started it: at the test's end, and by the kernel when that is killed.
package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// T is what the harness asks of its caller. A fault ends the test.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// Patience is how long anything that should happen may take on a busy machine.
const Patience = time.Minute

// Cluster is one installation: a certificate authority, control planes and data planes.
type Cluster struct {
	T           T
	Folder      string // all that the cluster has on disk
	cp, dp, kms string // the binaries

	mu        sync.Mutex
	processes []*Process // guarded by mu; all ever started
}

// New makes a cluster with nothing but its certificate authority.
func New(t T) *Cluster {
	t.Helper()
	binaries, err := Binaries()
	if err != nil {
		t.Fatalf("%v", err)
	}
	folder, err := os.MkdirTemp("", "keepgate-e2e-")
	if err != nil {
		t.Fatalf("making a folder for the cluster: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	c := &Cluster{T: t, Folder: folder, cp: filepath.Join(binaries, "keepgate-cp"), dp: filepath.Join(binaries, "keepgate-dp"), kms: filepath.Join(binaries, "keepgate-kms")}
	c.CP("certs", "init", "--dir", c.Certs(), "--with-control-plane")
	return c
}

// Certs is the authority's folder.
func (c *Cluster) Certs() string { return filepath.Join(c.Folder, "certs") }

// Cert is a file of the authority's folder.
func (c *Cluster) Cert(name string) string { return filepath.Join(c.Certs(), name) }

// CP runs keepgate-cp to its end and returns what it printed.
func (c *Cluster) CP(args ...string) string {
	c.T.Helper()
	return c.command(c.cp, args)
}

// DP runs keepgate-dp to its end and returns what it printed.
func (c *Cluster) DP(args ...string) string {
	c.T.Helper()
	return c.command(c.dp, args)
}

// TryCP is [Cluster.CP] for a command that may fail.
func (c *Cluster) TryCP(args ...string) (output string, err error) { return run(c.cp, args) }

// TryDP is [Cluster.DP] for a command that may fail.
func (c *Cluster) TryDP(args ...string) (output string, err error) { return run(c.dp, args) }

func (c *Cluster) command(program string, args []string) string {
	c.T.Helper()
	output, err := run(program, args)
	if err != nil {
		c.T.Fatalf("%v", err)
	}
	return output
}

// Logs returns everything that any process of the cluster has written, by process.
func (c *Cluster) Logs() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	logs := map[string]string{}
	for _, p := range c.processes {
		logs[p.Name] += p.Log()
	}
	return logs
}

// Eventually waits until check says "", and fails with what it last said.
func Eventually(t T, what string, check func() (problem string)) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		problem := check()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %v: %s", what, Patience, problem)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wrong says what was expected, in the form that [Eventually] takes.
func wrong(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// Program makes a process of any other program, as a server to compare with, and starts nothing.
func (c *Cluster) Program(name, program string, args ...string) *Process {
	return c.newProcess(name, program, args, "")
}
