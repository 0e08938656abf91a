package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one program that is started, killed and started again in the same place.
type Process struct {
	Name    string
	Core    int      // which core alone it may use; -1: all
	Group   bool     // it starts processes of its own, which end with it
	Env     []string // beside the environment's own, of which no setting passes
	program string
	args    []string
	ready   string // the URL that answers 200 once it serves; "" when nothing is waited for
	cluster *Cluster

	mu      sync.Mutex
	command *exec.Cmd     // guarded by mu; nil until started
	ended   chan struct{} // guarded by mu; closed when command has ended
}

// newProcess makes a process and starts nothing. It ends with the test.
func (c *Cluster) newProcess(name, program string, args []string, ready string) *Process {
	p := &Process{Name: name, Core: -1, program: program, args: args, ready: ready, cluster: c}
	c.mu.Lock()
	c.processes = append(c.processes, p)
	c.mu.Unlock()
	c.T.Cleanup(func() {
		p.Kill()
		if c.T.Failed() {
			c.T.Logf("log of %s:\n%s", name, tail(p.Log(), 6000))
		}
	})
	return p
}

func (p *Process) logFile() string { return filepath.Join(p.cluster.Folder, p.Name+".log") }

// Log is everything it has written since it was first started.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return ""
	}
	return string(text)
}

// Pid is its process id; 0 when it does not run.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil || isClosed(p.ended) {
		return 0
	}
	return p.command.Process.Pid
}

// Launch starts it and waits for nothing.
func (p *Process) Launch() {
	t := p.cluster.T
	t.Helper()
	if p.Pid() != 0 {
		t.Fatalf("%s runs already", p.Name)
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatalf("opening the log of %s: %v", p.Name, err)
	}
	defer log.Close()
	command := exec.Command(p.program, p.args...)
	command.Env = append(clean(os.Environ()), p.Env...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.Group { // only the first of them hears when this process dies, and must be able to tell the others
		command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	}
	ended, err := runPinned(command, p.Core)
	if err != nil {
		t.Fatalf("starting %s: %v", p.Name, err)
	}
	p.mu.Lock()
	p.command, p.ended = command, ended
	p.mu.Unlock()
}

// Start starts it and returns when it serves.
func (p *Process) Start() {
	p.cluster.T.Helper()
	p.Launch()
	p.AwaitReady()
}

// AwaitReady returns when it serves, and fails with its log when it ends before that.
func (p *Process) AwaitReady() {
	t := p.cluster.T
	t.Helper()
	if p.ready == "" {
		return
	}
	Eventually(t, p.Name+" being ready", func() string {
		if p.Pid() == 0 {
			t.Fatalf("%s ended while starting:\n%s", p.Name, tail(p.Log(), 4000))
		}
		answer, err := Get(p.ready)
		if err != nil {
			return err.Error()
		}
		return wrong(answer.Status == 200, "%d %s", answer.Status, answer.Body)
	})
}

// Kill ends it as a crash does (SIGKILL), and returns when it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends it as an operator does (SIGTERM), and returns when it is gone.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(signal syscall.Signal) {
	p.mu.Lock()
	command, ended := p.command, p.ended
	p.mu.Unlock()
	if command == nil {
		return
	}
	if p.Group {
		endGroup(command.Process.Pid, ended)
		return
	}
	_ = command.Process.Signal(signal) // it may have ended already
	select {
	case <-ended:
	case <-time.After(Patience):
		_ = command.Process.Kill()
		<-ended
	}
}

// endGroup ends a process and all that it has started, and returns when none is left: asked first, since a process
// that is killed cannot end its own, then killed.
func endGroup(first int, ended <-chan struct{}) {
	_ = syscall.Kill(-first, syscall.SIGTERM) // they may have ended already
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if errors.Is(syscall.Kill(-first, syscall.SIGKILL), syscall.ESRCH) {
			return
		}
	}
}

// Signal sends a signal to the running process.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.command == nil {
		return fmt.Errorf("%s was never started", p.Name)
	}
	return p.command.Process.Signal(signal)
}

// AwaitEnd returns when it has ended by itself.
func (p *Process) AwaitEnd() {
	p.cluster.T.Helper()
	Eventually(p.cluster.T, p.Name+" ending", func() string { return wrong(p.Pid() == 0, "it runs") })
}

// AwaitEndOr returns when it has ended by itself, or when something else has come about.
func (p *Process) AwaitEndOr(other func() bool) {
	p.cluster.T.Helper()
	Eventually(p.cluster.T, p.Name+" ending", func() string { return wrong(p.Pid() == 0 || other(), "it runs") })
}

// AwaitLog returns when its log says all of the texts, in any order.
func (p *Process) AwaitLog(texts ...string) {
	p.cluster.T.Helper()
	p.AwaitLogSince(0, texts...)
}

// AwaitLogSince is [Process.AwaitLog] for what was written after the log had a length.
func (p *Process) AwaitLogSince(length int, texts ...string) {
	p.cluster.T.Helper()
	Eventually(p.cluster.T, fmt.Sprintf("the log of %s saying %q", p.Name, texts), func() string {
		log := p.Log()[length:]
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(log, text) })
		return wrong(len(missing) == 0, "no word of %q in:\n%s", missing, tail(log, 3000))
	})
}

// runPinned starts a command from a thread that lives as long as the command does, since the kernel sends
// Pdeathsig when the starting thread ends (prctl(2)); the child also takes the thread's cores over.
func runPinned(command *exec.Cmd, core int) (ended chan struct{}, err error) {
	ended = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: a thread with other cores than the rest ends with its goroutine
		if err := Pin(core); err != nil {
			started <- err
			return
		}
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = command.Wait() // how it ended stands in its log
	}()
	return ended, <-started
}

// Pin lets the calling thread, and what it starts, use one core alone; -1 changes nothing.
func Pin(core int) error {
	if core < 0 {
		return nil
	}
	var cores unix.CPUSet
	cores.Set(core)
	if err := unix.SchedSetaffinity(0, &cores); err != nil {
		return fmt.Errorf("pinning to core %d: %w", core, err)
	}
	return nil
}

// clean drops every setting of either plane from an environment, so that only the harness's own hold.
func clean(environment []string) []string {
	return slices.DeleteFunc(slices.Clone(environment), func(line string) bool {
		return strings.HasPrefix(line, "KEEPGATE_") || strings.HasPrefix(line, "KONG_")
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func tail(text string, most int) string { return text[max(0, len(text)-most):] }

// Command runs another command of its program, one of the planes', to its end, with the settings that it has.
func (p *Process) Command(args ...string) (output string, err error) {
	return run(p.program, append(args, p.args[1:]...), p.Env...)
}

// SetFlag gives a flag another value for the next start. The last one counts, so it is added behind the others.
func (p *Process) SetFlag(name, value string) { p.args = append(p.args, name, value) }
