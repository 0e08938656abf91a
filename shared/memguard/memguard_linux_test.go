package memguard_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/memguard"
)

// act names what the test binary does instead of testing, so that a whole process can be protected and die.
const act = "KEEPGATE_MEMGUARD_ACT"

func TestMain(m *testing.M) {
	switch os.Getenv(act) {
	case "":
		os.Exit(m.Run())
	case "die":
		die()
	case "protect and die":
		memguard.Protect()
		die()
	case "protect":
		tell(memguard.Protect())
	case "protect poor":
		poor(8 << 20)
		tell(memguard.Protect())
	case "protect poor with a finite limit that it fits":
		poor(1 << 50)
		tell(memguard.Protect())
	case "protect and grow":
		grow()
	}
}

// die crashes as a fault in the runtime would, with GOTRACEBACK=crash.
func die() {
	signal.Reset(syscall.SIGABRT)
	_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
	select {}
}

// told is what a child says of itself.
type told struct {
	Status memguard.Status
	Locked string // VmLck of /proc/self/status
	Core   unix.Rlimit
}

func tell(s memguard.Status) {
	var t told
	t.Status, t.Locked = s, field("VmLck:")
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &t.Core)
	_ = json.NewEncoder(os.Stdout).Encode(t)
}

func field(name string) string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if after, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(after)
		}
	}
	return ""
}

// poor takes away what locking all memory needs, of this thread, which stays the only one that asks.
func poor(limit uint64) {
	runtime.LockOSThread()
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit, Max: limit})
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	_ = unix.Capget(&header, &sets[0])
	sets[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	sets[0].Permitted &^= 1 << unix.CAP_IPC_LOCK
	_ = unix.Capset(&header, &sets[0])
}

// grow takes a great deal of memory after it was locked, and gives it back.
func grow() {
	memguard.Protect()
	before := field("VmRSS:")
	var kept [][]byte
	for range 64 {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		kept = append(kept, block)
	}
	full := field("VmRSS:")
	runtime.KeepAlive(kept)
	kept = nil
	debug.FreeOSMemory()
	fmt.Println(before, full, field("VmRSS:"))
}

func child(t *testing.T, what, folder string) *exec.Cmd {
	t.Helper()
	command := exec.Command("/bin/sh", "-c", `ulimit -c unlimited 2>/dev/null; exec "$0"`, os.Args[0])
	command.Env = append(os.Environ(), act+"="+what, "GOTRACEBACK=crash")
	command.Dir, command.Stderr = folder, io.Discard
	return command
}

func hear(t *testing.T, what string) (heard told) {
	t.Helper()
	out, err := child(t, what, t.TempDir()).Output()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := json.Unmarshal(out, &heard); err != nil {
		t.Fatalf("%s said %q: %v", what, out, err)
	}
	return heard
}

// TestACrashWritesNoCore: not with an unlimited ulimit -c that was inherited either.
func TestACrashWritesNoCore(t *testing.T) {
	t.Parallel()
	dumped := func(what string) (bool, []os.DirEntry) {
		t.Helper()
		folder := t.TempDir()
		err := child(t, what, folder).Run()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || !exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatalf("%s: %v, want an end by a signal", what, err)
		}
		files, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		return exit.Sys().(syscall.WaitStatus).CoreDump(), files
	}
	if core, files := dumped("protect and die"); core || len(files) > 0 {
		t.Errorf("a protected process left a core: %t, files %v", core, files)
	}
	if raceEnabled {
		return // the shadow of the race detector would take minutes to dump
	}
	if core, _ := dumped("die"); !core {
		t.Log("this system dumps no process at all: that the protection does it is not shown here")
	}
}

func TestMemoryIsLockedWhereItMayBe(t *testing.T) {
	t.Parallel()
	heard := hear(t, "protect")
	if heard.Status.CoreDumps != "off" || heard.Core != (unix.Rlimit{}) {
		t.Errorf("core dumps: %s, limit %+v", heard.Status.CoreDumps, heard.Core)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur == unix.RLIM_INFINITY && !heard.Status.Locked {
		t.Errorf("nothing limits it, and it is not locked: %q", heard.Status.Reason)
	}
	// Where it cannot be, it says why; what it says is what the kernel counts.
	if said := heard.Status.Reason != ""; said == heard.Status.Locked || (heard.Locked != "0 kB") != heard.Status.Locked {
		t.Errorf("locked: %t, VmLck %s, reason %q", heard.Status.Locked, heard.Locked, heard.Status.Reason)
	}
}

// TestMemoryIsNotLockedWhereItCouldFailLater: a limit which the process fits in now ends it later.
func TestMemoryIsNotLockedWhereItCouldFailLater(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"protect poor", "protect poor with a finite limit that it fits"} {
		heard := hear(t, what)
		if heard.Status.Locked || heard.Locked != "0 kB" || !strings.Contains(heard.Status.Reason, "RLIMIT_MEMLOCK") {
			t.Errorf("%s: %+v, VmLck %s", what, heard.Status, heard.Locked)
		}
		if heard.Status.CoreDumps != "off" {
			t.Errorf("%s: core dumps %s", what, heard.Status.CoreDumps)
		}
	}
}

// TestLockedMemoryIsGivenBack: the runtime returns pages to the system although they are locked.
func TestLockedMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	out, err := child(t, "protect and grow", t.TempDir()).Output()
	if err != nil {
		t.Fatal(err)
	}
	var before, full, after int
	if _, err := fmt.Sscanf(string(out), "%d kB %d kB %d kB", &before, &full, &after); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if full-before < 60<<10 || full-after < 50<<10 { // the race detector keeps its shadow of it
		t.Errorf("%d KiB before, %d KiB with 64 MiB more, %d KiB after", before, full, after)
	}
}

// TestLookChangesNothing: the test process itself is as it was.
func TestLookChangesNothing(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := memguard.Look()
	s.Log(slog.New(slog.NewTextHandler(&log, nil)))
	if again := memguard.Look(); again.CoreDumps != s.CoreDumps || again.Locked || s.Warnings == nil {
		t.Errorf("%+v, then %+v", s, again)
	}
	if s.CoreDumps != "on" || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "core_dumps=on") {
		t.Errorf("%+v, logged %s", s, log.String())
	}
}
