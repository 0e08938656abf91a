//go:build unix && !linux

package memguard

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func protect() []string {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return []string{fmt.Sprintf("RLIMIT_CORE cannot be set: %v", err)}
	}
	return nil
}

// look tells no more than is known here: the limit, which this system's dumps heed.
func look() Status {
	s := Status{CoreDumps: on, Reason: "this system has no call for it that is used", Swap: unknown}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		s.CoreDumps = unknown
	} else if limit.Cur == 0 {
		s.CoreDumps = off
	}
	return s
}
