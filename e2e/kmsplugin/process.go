package kmsplugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// running is the process of a plugin.
type running struct {
	command *exec.Cmd
	life    io.Closer // closing it ends the process
	ended   chan struct{}
}

// Start runs it and returns when it serves.
func (p *Plugin) Start() {
	p.t.Helper()
	if err := p.TryStart(); err != nil {
		log, _ := os.ReadFile(p.logFile())
		p.t.Fatalf("starting the KMS plugin: %v\n%s", err, log)
	}
}

// TryStart is Start for a plugin that may have a reason not to.
func (p *Plugin) TryStart() error {
	if p.running != nil {
		return errors.New("it runs already")
	}
	program, err := built()
	if err != nil {
		return err
	}
	stale := "remove"
	if p.options.KeepStale {
		stale = "fail"
	}
	command := exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()),
		"-listen", p.listen, "-control", filepath.Join(p.sockets, "control.sock"), "-state", filepath.Join(p.dir, "kmsplugin.json"),
		"-key", p.options.FirstKey, "-stale", stale)
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command.Stderr = log
	life, err := command.StdinPipe()
	if err != nil {
		return err
	}
	says, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	_, err = bufio.NewReader(says).ReadString('\n')
	r := &running{command: command, life: life, ended: make(chan struct{})}
	go func() { defer close(r.ended); _ = command.Wait() }()
	if err != nil {
		<-r.ended
		return fmt.Errorf("it ended before it served: %v", command.ProcessState)
	}
	p.running = r
	return nil
}

// Kill ends it as a crash does; its socket file stays. Nothing happens when it does not run.
func (p *Plugin) Kill() {
	if r := p.running; r != nil {
		_ = r.command.Process.Kill()
		<-r.ended
		p.running = nil
	}
}

// Stop ends it as a service manager does, and removes its socket file.
func (p *Plugin) Stop() {
	if r := p.running; r != nil {
		_ = r.life.Close()
		<-r.ended
		p.running = nil
	}
}

// Restart kills it and starts it again.
func (p *Plugin) Restart() {
	p.t.Helper()
	p.Kill()
	p.Start()
}

// Ended waits until the process ended by itself, as the fault Die makes it.
func (p *Plugin) Ended() {
	if r := p.running; r != nil {
		<-r.ended
		p.running = nil
	}
}

// Freeze stops the process where it is: the kernel takes connections for it, and nothing answers.
func (p *Plugin) Freeze() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	for {
		err := unix.Waitid(unix.P_PID, p.running.command.Process.Pid, nil, unix.WSTOPPED, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			p.t.Fatalf("waiting until the KMS plugin stands still: %v", err)
		}
	}
}

// Thaw undoes Freeze.
func (p *Plugin) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Plugin) signal(signal syscall.Signal) {
	p.t.Helper()
	if p.running == nil {
		p.t.Fatalf("the KMS plugin does not run")
	}
	if err := p.running.command.Process.Signal(signal); err != nil {
		p.t.Fatalf("signalling the KMS plugin: %v", err)
	}
}

// built builds the program once a process and keeps it open: its file is gone at once, so that nothing is left
// behind however the tests end.
var built = sync.OnceValues(func() (*os.File, error) {
	folder, err := os.MkdirTemp("", "kmsplugin-bin-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "kmsplugin")
	command := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags", "-s -w",
		"-o", file, "github.com/keepgate/keepgate/e2e/kmsplugin/program")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the KMS plugin: %w\n%s", err, output)
	}
	return os.Open(file)
})
