// Package kmsplugin gives tests a Kubernetes KMS plugin in a process of its own, versions 2 and 1 on one socket, that
// can be told to misbehave (e2e/kmsplugin/control says how), killed and started again over the same keys.
package kmsplugin

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

// T is what the package asks of a test or benchmark.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// Options tunes a plugin. The zero value is a good one.
type Options struct {
	Abstract  bool   // an abstract socket instead of a file
	FirstKey  string // the id of the first key; default "key-1"
	KeepStale bool   // it does not start where a socket file is in its way
}

// Plugin is one plugin. It is not safe for concurrent use, as tests are not.
type Plugin struct {
	t       T
	control *control.Client
	dir     string // state and log
	listen  string // a path or @name
	sockets string
	options Options
	running *running // nil when it does not run
}

// Start runs a good plugin until the test ends. Its keys and its log rest in dir.
func Start(t T, dir string) *Plugin {
	t.Helper()
	return StartWith(t, dir, Options{})
}

// StartWith runs a plugin until the test ends.
func StartWith(t T, dir string, options Options) *Plugin {
	t.Helper()
	p := New(t, dir, options)
	p.Start()
	return p
}

// New makes a plugin and does not start it: its endpoint leads nowhere yet.
func New(t T, dir string, options Options) *Plugin {
	t.Helper()
	sockets, err := os.MkdirTemp("", "kms") // not dir: the address of a socket holds 107 bytes
	if err != nil {
		t.Fatalf("making a folder for sockets: %v", err)
	}
	if options.FirstKey == "" {
		options.FirstKey = "key-1"
	}
	p := &Plugin{t: t, dir: dir, sockets: sockets, options: options, listen: filepath.Join(sockets, "kms.sock")}
	if options.Abstract {
		p.listen = "@" + p.listen
	}
	p.control = control.New(filepath.Join(sockets, "control.sock"))
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(p.logFile())
			t.Logf("log of the KMS plugin:\n%s", log)
		}
		_ = os.RemoveAll(sockets)
	})
	return p
}

func (p *Plugin) logFile() string { return filepath.Join(p.dir, "kmsplugin.log") }

// Endpoint is the plugin's, as an EncryptionConfiguration writes it.
func (p *Plugin) Endpoint() string {
	if p.options.Abstract {
		return "unix:///" + p.listen
	}
	return "unix://" + p.listen
}

// Socket is the plugin's socket file.
func (p *Plugin) Socket() string { return p.listen }

// State is what it has and saw.
func (p *Plugin) State() control.State {
	p.t.Helper()
	s, err := p.control.State()
	p.must(err)
	return s
}

// Calls is how often a method was called since it was started.
func (p *Plugin) Calls(method control.Method) int {
	p.t.Helper()
	return p.State().Calls[method]
}

// Break adds faults to those that there are.
func (p *Plugin) Break(how func(*control.Faults)) {
	p.t.Helper()
	faults := p.State().Faults
	for _, set := range []*map[control.Method]bool{&faults.Hang, &faults.Die} {
		if *set == nil {
			*set = map[control.Method]bool{}
		}
	}
	if faults.Refuse == nil {
		faults.Refuse = map[control.Method]control.Refusal{}
	}
	if faults.Delay == nil {
		faults.Delay = map[control.Method]time.Duration{}
	}
	how(&faults)
	err := p.control.SetFaults(faults)
	if len(faults.Die) > 0 && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return // a call has ended it before it could answer
	}
	p.must(err)
}

// Mend takes all faults back.
func (p *Plugin) Mend() {
	p.t.Helper()
	p.must(p.control.SetFaults(control.Faults{}))
}

// Rotate makes a new key and its id, "" for one that it draws, the active one. The id of a key that there is gets new
// material: what a plugin must never do.
func (p *Plugin) Rotate(id string) string {
	p.t.Helper()
	active, err := p.control.Rotate(id)
	p.must(err)
	return active
}

// Return makes an old key the active one again, under the same id: what a plugin must never do.
func (p *Plugin) Return(id string) {
	p.t.Helper()
	p.must(p.control.Return(id))
}

// Forget drops a key for good.
func (p *Plugin) Forget(id string) {
	p.t.Helper()
	p.must(p.control.Forget(id))
}

func (p *Plugin) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("telling the KMS plugin: %v", err)
	}
}
