package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
)

const name = "sample"

type sample struct {
	Process settings.Process
	Mode    string       `key:"mode" default:"serve" oneof:"serve|fail|never|stubborn|warn|unfit|differs" help:"How the program behaves."`
	Token   secret.Bytes `key:"token" help:"What a reference leads to."`
}

// TestMain makes the test binary the program too: Start runs its own executable with "run".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "run" || os.Args[1] == "check") {
		os.Exit(process.Execute(root()))
	}
	os.Exit(m.Run())
}

func serve(ctx context.Context, instance *process.Instance, s sample, loaded *settings.Loaded) error {
	switch s.Mode {
	case "fail":
		return errors.New("the port is taken")
	case "never":
		<-ctx.Done()
		return nil
	case "warn":
		for n := range 7 {
			fmt.Printf("time=now level=warn msg=beware n=%d\ntime=now level=notice msg=quiet\n", n)
		}
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	fmt.Println("dumpable:", dumpable)
	fmt.Println("the token has", s.Token.Len(), "bytes")
	if err := instance.Ready(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-instance.Reloads():
			again, err := instance.Reread()
			if err != nil {
				return err
			}
			fmt.Println("reloaded", loaded.Changed(again))
		}
	}
}

// root is the program's command line.
func root() (*cobra.Command, error) {
	return process.Program[sample]{
		Name: name, Prefix: func(s sample) string { return s.Process.Prefix }, Run: serve,
		Probe: func(s sample) process.Probe {
			return func(context.Context) error {
				if _, err := os.Stat(filepath.Join(s.Process.Prefix, "ill")); err == nil {
					return errors.New("it feels ill")
				}
				return nil
			}
		},
		Check: func(s sample) error {
			if s.Mode == "unfit" {
				return fault.Newf(fault.Invalid, "check", "mode", "its certificate is no certificate")
			}
			if s.Mode == "differs" {
				return differs{}
			}
			return nil
		},
	}.Root("a sample", "A sample.")
}

func command(out interface{ Write([]byte) (int, error) }, arguments ...string) *cobra.Command {
	root, err := root()
	if err != nil {
		panic(err)
	}
	root.SetOut(out)
	root.SetErr(out)
	root.SetArgs(arguments)
	return root
}

// differs ends the process with a status of its own.
type differs struct{}

func (differs) Error() string { return "it differs" }
func (differs) ExitCode() int { return 2 }

// shell runs commands on one prefix, and leaves nothing running.
type shell struct {
	t     *testing.T
	place process.Place
}

func newShell(t *testing.T) shell {
	t.Helper()
	s := shell{t, process.Place{Prefix: t.TempDir(), Name: name}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := process.Stop(ctx, s.place, true); err != nil && fault.KindOf(err) != fault.NotFound {
			t.Error(err)
		}
	})
	return s
}

func (s shell) try(arguments ...string) (string, error) {
	var out bytes.Buffer
	err := command(&out, append(arguments, "--prefix", s.place.Prefix)...).Execute()
	return out.String(), err
}

func (s shell) must(arguments ...string) string {
	s.t.Helper()
	out, err := s.try(arguments...)
	if err != nil {
		s.t.Fatalf("%s: %v", arguments[0], err)
	}
	return out
}

func (s shell) mustFail(kind fault.Kind, text string, arguments ...string) {
	s.t.Helper()
	if out, err := s.try(arguments...); fault.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), text) {
		s.t.Fatalf("%s: %v %q; want kind %v and %q", arguments[0], err, out, kind, text)
	}
}

func (s shell) look() process.Status {
	s.t.Helper()
	status, err := process.Look(s.place)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

func (s shell) awaitLog(text string) {
	s.t.Helper()
	for range 500 {
		if log, err := os.ReadFile(s.place.LogFile()); err == nil && bytes.Contains(log, []byte(text)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("the log never said %q", text)
}

func TestTheWholeWalk(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.mustFail(fault.NotFound, "not running", "health")
	s.must("start")
	first := s.look()
	if !first.Running || !first.Ready || first.Pid == 0 || first.Pid == os.Getpid() {
		t.Fatalf("after start: %+v", first)
	}
	s.awaitLog("dumpable: 0")
	if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", first.Pid)); err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
		t.Errorf("core dumps are not off: %v\n%s", err, limits)
	}
	s.must("health")
	s.mustFail(fault.Conflict, fmt.Sprintf("already running (pid %d)", first.Pid), "start")
	s.mustFail(fault.Conflict, "already running", "run")
	s.must("reload")
	s.awaitLog("reloaded")
	if err := os.WriteFile(filepath.Join(s.place.Prefix, "ill"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustFail(fault.Unavailable, "feels ill", "health")
	s.must("restart")
	if second := s.look(); !second.Ready || second.Pid == first.Pid {
		t.Fatalf("after restart: %+v, before %+v", second, first)
	}
	s.must("stop")
	if status := s.look(); status.Running {
		t.Fatalf("after stop: %+v", status)
	}
	if left, err := filepath.Glob(filepath.Join(s.place.Prefix, "pids", "*")); err != nil || len(left) != 0 {
		t.Errorf("after stop these are left: %v, %v", left, err)
	}
	s.mustFail(fault.NotFound, "not running", "stop")
	s.mustFail(fault.NotFound, "not running", "reload")
	s.must("restart")
}

func TestAFailedStartShowsWhy(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.mustFail(fault.Unavailable, "the port is taken", "start", "--mode=fail")
	if s.look().Running {
		t.Error("it runs")
	}
}

func TestAStartThatIsNeverReadyIsStopped(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.mustFail(fault.Unavailable, "not ready in time", "start", "--mode=never", "--timeout=700ms")
	for range 500 {
		if !s.look().Running {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("it still runs")
}

func TestOnlyKillEndsTheStubborn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("start", "--mode=stubborn")
	s.mustFail(fault.Unavailable, "still running", "stop", "--timeout=100ms")
	if !s.look().Running {
		t.Fatal("stop without --kill ended it")
	}
	s.must("stop", "--timeout=100ms", "--kill")
	if s.look().Running {
		t.Error("stop with --kill did not end it")
	}
	s.must("start") // what kill left behind does not hinder
}

func TestBadSettingsStopNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.must("start")
	before := s.look()
	s.mustFail(fault.Invalid, "mode has an invalid value", "restart", "--mode=x")
	s.mustFail(fault.Invalid, "is no certificate", "restart", "--mode=unfit")
	s.mustFail(fault.Invalid, "mode has an invalid value", "reload", "--mode=x")
	if s.look() != before {
		t.Errorf("%+v, before %+v", s.look(), before)
	}
	if out := s.must("stop", "--mode=x"); !strings.Contains(out, "warning") {
		t.Errorf("stop said %q, want a warning about the settings", out)
	}
}

// The pid in the file belongs to somebody else: a file restored from a backup, or written by hand.
func TestAForeignProcessIsNotSignalled(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: name}
	instance, err := process.Hold(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = instance.Release() })
	pids := filepath.Join(place.Prefix, "pids", name+".pid")
	own, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(own))
	for what, text := range map[string]string{
		"another start time": words[0] + " 1 " + words[2],
		"another boot":       words[0] + " " + words[1] + " 00000000-0000-0000-0000-000000000000",
		"another pid":        "1 " + words[1] + " " + words[2],
	} {
		if err := os.WriteFile(pids, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := process.Signal(place, syscall.SIGKILL); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: Signal = %v, want kind corrupt", what, err)
		}
	}
	for what, text := range map[string]string{"nothing": "", "words": "a b c", "pid 0": "0 1 b", "a negative pid": "-1 1 b", "pid 1 alone": "1"} {
		if err := os.WriteFile(pids, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := process.Signal(place, syscall.SIGKILL); err == nil {
			t.Errorf("%s: was signalled", what)
		}
	}
}

func TestAFileWithoutItsProcessIsNoProcess(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: name}
	if err := os.MkdirAll(filepath.Join(place.Prefix, "pids"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(place.Prefix, "pids", name+".pid"), fmt.Appendf(nil, "%d 1 b", os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, err := process.Look(place); err != nil || status.Running {
		t.Fatalf("Look = %+v, %v", status, err)
	}
	if err := process.Signal(place, syscall.SIGKILL); fault.KindOf(err) != fault.NotFound {
		t.Fatalf("Signal = %v, want kind not found", err)
	}
}

// Asking must never take the lock from one who starts, and there is never more than one holder.
func TestAskingDoesNotHinderStarting(t *testing.T) {
	t.Parallel()
	place := process.Place{Prefix: t.TempDir(), Name: name}
	done := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, err := process.Look(place); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 300 {
		instance, err := process.Hold(place)
		if err != nil {
			t.Error(err)
			break
		}
		if other, err := process.Hold(place); fault.KindOf(err) != fault.Conflict {
			t.Errorf("a second Hold = %v, %v; want kind conflict", other, err)
		}
		if err := instance.Release(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	asking.Wait()
}

func TestCheckPrintsWhatIsInEffect(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	out := s.must("check", "--mode=never")
	for _, want := range []string{"mode = never  # --mode\n", "log_level = notice  # default\n", "the configuration is valid (environment and flags)\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("check printed %q, want %q in it", out, want)
		}
	}
	s.mustFail(fault.Invalid, "mode has an invalid value: 'x' (serve, fail, never, stubborn, warn, unfit, differs)", "check", "--mode=x")
}
