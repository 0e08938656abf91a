// Package memguard keeps what a process holds in memory, keys above all, off every disk: no core dumps, memory that
// is not swapped out where the system lets it be locked, and a warning where it does not and swap lies on a disk.
//
// [Protect] comes first in a process that will hold secrets; [Look] tells at any later time how it stands, from what
// the kernel says and not from what was asked for.
//
// # What it means for whoever debugs
//
// A process that may not be dumped (prctl(2), PR_SET_DUMPABLE) writes no core file, whatever ulimit -c and
// kernel.core_pattern say, and cannot be attached to by a debugger, nor have its memory or environment read under
// /proc, by its own user: root (CAP_SYS_PTRACE) can. A crash still prints the stacks of all goroutines to stderr.
//
// # Locking
//
// mlockall(2) with MCL_ONFAULT locks pages as they are first touched, so that it costs no memory that was not
// used anyway. But it also counts every mapping made later against RLIMIT_MEMLOCK, whole and untouched, and Go
// reserves a great deal of address space: with a finite limit some later allocation would fail and end the process. So
// memory is locked only where that cannot happen: with an unlimited RLIMIT_MEMLOCK (LimitMEMLOCK=infinity) or with
// CAP_IPC_LOCK in the first user namespace, the only one where the kernel heeds it. Elsewhere keys alone are locked,
// page by page, by whoever holds them.
package memguard

import (
	"context"
	"log/slog"
	"strings"
)

// Status says how this process's memory is protected.
type Status struct {
	CoreDumps string   `json:"core_dumps"`       // off, on or unknown
	Locked    bool     `json:"locked"`           // all memory stays out of swap
	Reason    string   `json:"reason,omitempty"` // why it is not locked
	Swap      string   `json:"swap"`             // off, memory (compressed, in RAM), encrypted, disk or unknown
	Warnings  []string `json:"warnings"`         // what an operator should mend; [] when nothing
}

const (
	off     = "off"
	on      = "on"
	unknown = "unknown"

	swapMemory    = "memory"
	swapEncrypted = "encrypted"
	swapDisk      = "disk"
)

// Protect does what can be done, and tells how it stands then. It stops nobody's start: what could not be had is
// in the warnings.
func Protect() Status {
	failed := protect()
	s := Look()
	s.Warnings = append(s.Warnings, failed...)
	return s
}

// Look tells how it stands now.
func Look() Status { return look().judged() }

// judged adds the warnings.
func (s Status) judged() Status {
	s.Warnings = []string{}
	if s.CoreDumps == on {
		s.Warnings = append(s.Warnings, "a crash would write the memory of this process, keys included, to a core file")
	}
	if s.Locked {
		return s
	}
	switch s.Swap {
	case swapDisk:
		s.Warnings = append(s.Warnings, "memory is not locked ("+s.Reason+") and swap lies on a disk in clear: keys may be written to it; "+
			"turn swap off (swapoff -a, MemorySwapMax=0), encrypt it, or let the process lock its memory (LimitMEMLOCK=infinity, CAP_IPC_LOCK)")
	case unknown:
		s.Warnings = append(s.Warnings, "memory is not locked ("+s.Reason+"), and whether this system swaps to a disk cannot be told: keys may be written to it")
	}
	return s
}

// Log tells the log of a status: warnings as such, and the rest for whoever looks.
func (s Status) Log(log *slog.Logger) {
	level := slog.LevelInfo
	if len(s.Warnings) > 0 {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "memory protection", "core_dumps", s.CoreDumps, "locked", s.Locked, "reason", s.Reason, "swap", s.Swap,
		"warnings", strings.Join(s.Warnings, "; "))
}
