package memguard

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// protect returns what could not be done and should have been. That memory is not locked where the rights for it
// are missing is no failure: Look tells it, and whether it matters.
func protect() (failed []string) {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		failed = append(failed, fmt.Sprintf("RLIMIT_CORE cannot be set: %v", err))
	}
	// A pipe in core_pattern ignores the limit, hence this too.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		failed = append(failed, fmt.Sprintf("PR_SET_DUMPABLE cannot be cleared: %v", err))
	}
	if hindrance() != "" {
		return failed
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		failed = append(failed, fmt.Sprintf("memory cannot be locked: %v", err))
	}
	return failed
}

func look() Status {
	s := Status{CoreDumps: coreDumps(), Locked: locked(), Swap: swap(os.DirFS("/"))}
	if !s.Locked {
		if s.Reason = hindrance(); s.Reason == "" {
			s.Reason = "the kernel did not"
		}
	}
	return s
}

func coreDumps() string {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	switch {
	case err != nil:
		return unknown
	case dumpable == 0:
		return off
	}
	return on
}

// hindrance says why locking all memory could make later allocations fail; "" when it cannot.
func hindrance() string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return "RLIMIT_MEMLOCK cannot be read"
	}
	if limit.Cur == unix.RLIM_INFINITY || mayLock() {
		return ""
	}
	return fmt.Sprintf("RLIMIT_MEMLOCK is %d KiB and not unlimited, and CAP_IPC_LOCK is missing", limit.Cur>>10)
}

// mayLock reports whether CAP_IPC_LOCK is effective where the kernel looks for it: in the first user namespace.
func mayLock() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false
	}
	return sets[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}

// locked reports whether all memory is. Single pages may be locked without it, so most of the address space must be.
func locked() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	size, held := kilobytes(string(status), "VmSize:"), kilobytes(string(status), "VmLck:")
	return held > size/2
}

// kilobytes reads a line of /proc/self/status; 0 when there is none.
func kilobytes(status, name string) uint64 {
	_, after, _ := strings.Cut("\n"+status, "\n"+name)
	line, _, _ := strings.Cut(after, "\n")
	n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return n
}
