package keyring

import "golang.org/x/sys/unix"

// keepOutOfDumps leaves the pages out of a core file, where the kernel can.
func keepOutOfDumps(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTDUMP) }
