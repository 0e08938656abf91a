package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// onCPU is how long a process and its descendants have run on any core. Threads that have ended do not count,
// which matters to nobody here: proxies keep theirs.
func onCPU(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, id := range tree(pid) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", id))
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // the thread has just ended
			}
			first, _, _ := strings.Cut(string(text), " ")
			spent, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			sum += time.Duration(spent)
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("/proc/%d/task/*/schedstat counts nothing: the kernel has no CONFIG_SCHED_INFO", pid)
	}
	return sum, nil
}

// tick is the unit of times in /proc/<pid>/stat, which is the same on every architecture (USER_HZ).
const tick = 10 * time.Millisecond

// everOnCPU is how long a process and its descendants have run, those with them that have ended: a database ends a
// process for each connection.
func everOnCPU(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, id := range tree(pid) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id))
		if err != nil {
			continue // it has just ended, and its parent counts it
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) < 15 {
			return 0, fmt.Errorf("/proc/%d/stat has %d fields", id, len(fields))
		}
		for _, field := range fields[11:15] { // its own time and that of its ended children: user and system
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", id, err)
			}
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, nil
}

// othersAtMost is the share of the machine that others may take while a latency is measured.
const othersAtMost = 0.05

// kernelThreads is the parent of the kernel's own threads, which write to the disk for everybody.
const kernelThreads = 2

// others is the share of the machine's time that went elsewhere while f ran than to this process, its descendants and the kernel; what
// the host under a virtual machine took from it counts.
func (b *bench) others(f func()) float64 {
	used := func() (sum time.Duration) {
		for _, root := range []int{os.Getpid(), kernelThreads} {
			spent, err := onCPU(root)
			if err != nil {
				b.Fatalf("%v", err)
			}
			sum += spent
		}
		return sum
	}
	ours, all, begun := used(), b.busy(), time.Now()
	f()
	length := time.Since(begun)
	return float64(b.busy()-all-(used()-ours)) / float64(length) / float64(runtime.NumCPU())
}

// busy is how long the machine's cores were not idle (/proc/stat, proc_stat(5)).
func (b *bench) busy() (sum time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatalf("%v", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(first)[1:9] {
		if i == 3 || i == 4 { // idle, waiting for a disk
			continue
		}
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatalf("/proc/stat: %v", err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum
}

// tree is a process and its descendants.
func tree(root int) []int {
	children := map[int][]int{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return []int{root}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		after := string(text[strings.LastIndexByte(string(text), ')')+1:])
		if fields := strings.Fields(after); len(fields) > 1 { // state, parent
			if parent, err := strconv.Atoi(fields[1]); err == nil {
				children[parent] = append(children[parent], pid)
			}
		}
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// residentKiB is a process's VmRSS.
func (b *bench) residentKiB(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				b.Fatalf("VmRSS %q: %v", rest, err)
			}
			return kib
		}
	}
	b.Fatalf("process %d has no VmRSS", pid)
	return 0
}

// gauge reads one metric without labels of a data plane.
func (b *bench) gauge(dp *harness.DataPlane, name string) float64 {
	answer, err := harness.Get("http://" + dp.Status + "/metrics")
	if err != nil {
		b.Fatalf("reading metrics: %v", err)
	}
	for line := range strings.Lines(answer.Body) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				b.Fatalf("metric %s: %v", name, err)
			}
			return value
		}
	}
	b.Fatalf("there is no metric %s", name)
	return 0
}
