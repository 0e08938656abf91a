package process

import (
	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/fault"
)

// ForbidCoreDumps keeps the memory of this process, and with it the keys, from being written to disk when it
// crashes and from being read by other processes of the same user (prctl(2), PR_SET_DUMPABLE). A pipe in
// core_pattern ignores the limit, hence both.
func ForbidCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fault.Newf(fault.Internal, "process.ForbidCoreDumps", "", "setting RLIMIT_CORE: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fault.Newf(fault.Internal, "process.ForbidCoreDumps", "", "setting PR_SET_DUMPABLE: %w", err)
	}
	return nil
}
