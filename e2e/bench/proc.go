package main

import (
	"fmt"
	"os"
	"path/filepath"
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
