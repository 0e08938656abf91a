package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// tailBytes is how much of a failed program's log is shown.
const tailBytes = 8 << 10

// Start runs this program once more behind the shell, with the given arguments, and returns when it is
// ready. When it ends before that, the error holds what it wrote; when ctx ends before that, it is stopped.
func Start(ctx context.Context, place Place, arguments []string) (pid int, err error) {
	if err := place.prepare(); err != nil {
		return 0, err
	}
	if status, err := Look(place); err != nil || status.Running {
		if err == nil {
			err = fault.Newf(fault.Conflict, "process.Start", place.subject(), "it is already running%s", place.pidText())
		}
		return 0, err
	}
	command, written, err := place.detach(arguments)
	if err != nil {
		return 0, fault.New(fault.Internal, "process.Start", place.subject(), err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // ends with the program, or with this process if that is sooner

	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		status, err := Look(place)
		if err == nil && status.Ready && status.Pid == command.Process.Pid {
			return status.Pid, nil
		}
		select {
		case end := <-ended:
			return 0, fault.Newf(fault.Unavailable, "process.Start", place.subject(), "it ended while starting (%s):\n%s",
				describe(end), place.logSince(written))
		case <-ctx.Done():
			_ = command.Process.Signal(syscall.SIGTERM)
			return 0, fault.Newf(fault.Unavailable, "process.Start", place.subject(), "it was not ready in time and is stopped; its log:\n%s",
				place.logSince(written))
		case <-tick.C:
		}
	}
}

func describe(end error) string {
	if end == nil {
		return "without an error"
	}
	return end.Error()
}

// detach starts the program in a session of its own, so that closing the terminal does not end it.
func (p Place) detach(arguments []string) (command *exec.Cmd, written int64, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, 0, fmt.Errorf("finding this program: %w", err)
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close()
	if written, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, 0, fmt.Errorf("finding the log's end: %w", err)
	}
	command = exec.Command(self, arguments...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, 0, fmt.Errorf("starting %s: %w", self, err)
	}
	return command, written, nil
}

// logSince is what the program wrote after the log had the given length, or the last of it.
func (p Place) logSince(written int64) string {
	log, err := os.Open(p.LogFile())
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil {
		written = max(written, info.Size()-tailBytes)
	}
	data, err := io.ReadAll(io.NewSectionReader(log, written, tailBytes))
	if err != nil {
		return err.Error()
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return "(it wrote nothing)"
	}
	return string(data)
}
