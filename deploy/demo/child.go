package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// child is a plane that runs behind the story.
type child struct {
	command *exec.Cmd
	ended   chan struct{}
}

// patience is how long anything may take that should come about.
const patience = 20 * time.Second

// environment is ours without any setting of Keepgate's: the demonstration's own files decide.
func (d *demo) environment() []string {
	var kept []string
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "KEEPGATE_") && !strings.HasPrefix(line, "KONG_") && !strings.HasPrefix(line, "PATH=") {
			kept = append(kept, line)
		}
	}
	return append(kept, "PATH="+d.bin+":"+os.Getenv("PATH"))
}

// run shows a command, runs it to its end, shows what it printed and returns that.
func (d *demo) run(line string) (string, error) {
	d.out.command(line)
	words := strings.Fields(line)
	var out, notes bytes.Buffer
	command := exec.CommandContext(d.ctx, filepath.Join(d.bin, words[0]), words[1:]...)
	command.Dir, command.Env = d.folder, d.environment()
	command.Stdout, command.Stderr = &out, &notes
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", line, err, out.String(), notes.String())
	}
	d.out.output(out.String())
	return out.String(), nil
}

// start shows a command, runs it behind the story and returns when ready answers.
func (d *demo) start(line, log, ready string) (*child, error) {
	d.out.command(line + " 2>>" + log + " &")
	to, err := os.OpenFile(filepath.Join(d.folder, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening its log: %w", err)
	}
	defer to.Close()
	words := strings.Fields(line)
	command := exec.Command(filepath.Join(d.bin, words[0]), words[1:]...)
	command.Dir, command.Env = d.folder, d.environment()
	command.Stdout, command.Stderr = to, to
	// A group of its own, so that Ctrl-C reaches us alone and we end it in order; and it never outlives us.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c := &child{command: command, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(c.ended)
		runtime.LockOSThread() // Pdeathsig means the end of this thread (prctl(2))
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended stands in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", line, err)
	}
	return c, d.await(words[0]+" being ready", func() error {
		select {
		case <-c.ended:
			return errEnded
		default:
			return answers(ready)
		}
	})
}

var errEnded = errors.New("it ended while starting")

// end signals the child and returns when it is gone.
func (c *child) end(signal syscall.Signal) {
	if c == nil {
		return
	}
	_ = c.command.Process.Signal(signal) // it may be gone already
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = c.command.Process.Kill()
		<-c.ended
	}
}

// await tries until check finds no fault.
func (d *demo) await(what string, check func() error) error {
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if errors.Is(err, errEnded) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come about: %w", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func answers(url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
