// Package process runs a program in the foreground or behind the shell, one at a time in a prefix folder:
// run, start, stop, restart, reload and health.
//
// A running program holds a lock on its pid file (an open file description lock, fcntl(2)), so whether one runs is never guessed from a number that
// the kernel may have given to somebody else since: no lock, no process. The file says which process it is
// by pid, start time and boot (proc_pid_stat(5), field 22), and that is checked again between opening a
// handle on the process and signalling it. Linux only.
//
//	<prefix>/pids/<name>.pid     "<pid> <start time> <boot id>", locked while it runs
//	<prefix>/pids/<name>.ready   the same text, once it serves
//	<prefix>/logs/<name>.log     what a program behind the shell writes to stdout and stderr
//
// What the program does, and what its health means beyond that, is its app's.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// Place is where a program keeps the files of its process.
type Place struct {
	Prefix string // folder; made when missing
	Name   string // of the program: "keepgate-dp"
}

func (p Place) pidFile() string   { return filepath.Join(p.Prefix, "pids", p.Name+".pid") }
func (p Place) readyFile() string { return filepath.Join(p.Prefix, "pids", p.Name+".ready") }

// LogFile is where a program behind the shell writes.
func (p Place) LogFile() string { return filepath.Join(p.Prefix, "logs", p.Name+".log") }

func (p Place) subject() string { return p.Name + " in " + p.Prefix }

// prepare makes the folders.
func (p Place) prepare() error {
	for _, folder := range []string{p.Prefix, filepath.Dir(p.pidFile()), filepath.Dir(p.LogFile())} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return fault.Newf(fault.Invalid, "process.prepare", p.subject(), "%w; name a folder that this user can write with --prefix", err)
		}
	}
	return nil
}

// identity names one process for all time.
type identity struct {
	pid   int
	start uint64 // in clock ticks since boot
	boot  string
}

func (i identity) String() string { return fmt.Sprintf("%d %d %s\n", i.pid, i.start, i.boot) }

func parseIdentity(text string) (identity, error) {
	words := strings.Fields(text)
	if len(words) != 3 {
		return identity{}, fmt.Errorf("not a pid, a start time and a boot id")
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil || pid < 1 { // pid 1 is the program itself in a container
		return identity{}, fmt.Errorf("no pid")
	}
	start, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("no start time")
	}
	return identity{pid, start, words[2]}, nil
}

// identify asks the kernel who has a pid now.
func identify(pid int) (identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, fmt.Errorf("reading the boot id: %w", err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, fmt.Errorf("reading the process's start time: %w", err)
	}
	// The second field is the command in parentheses and may hold spaces and parentheses of its own.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const startTime = 22 - 3 // the first field after the parentheses is field 3
	if len(fields) <= startTime {
		return identity{}, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	start, err := strconv.ParseUint(string(fields[startTime]), 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("reading the process's start time: %w", err)
	}
	return identity{pid, start, string(bytes.TrimSpace(boot))}, nil
}
