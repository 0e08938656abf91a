//go:build unix

package keyring

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockedBytes returns n bytes outside Go's heap, which the collector never copies, and whether the
// kernel promised to keep their page out of swap (mlock). It is best effort: without the right or the
// limit for it (RLIMIT_MEMLOCK) the bytes are ordinary ones and the status says so.
func lockedBytes(n int) (data []byte, locked bool) {
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	mapped, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n), false
	}
	keepOutOfDumps(mapped)
	return mapped[:n:n], unix.Mlock(mapped) == nil
}

// unlock gives back what lockedBytes took of the limit. The page stays mapped.
func unlock(data []byte) {
	if len(data) > 0 {
		_ = unix.Munlock(data)
	}
}
