//go:build race

package nowait

import "syscall"

// Read reads once from a socket that does not block. It returns 0 and no error at the end.
func Read(fd uintptr, p []byte) (int, error) { return again(syscall.Read, fd, p) }

// Write writes once to a socket that does not block.
func Write(fd uintptr, p []byte) (int, error) { return again(syscall.Write, fd, p) }

func peek(fd uintptr) (int, error) {
	return again(func(fd int, p []byte) (int, error) {
		n, _, err := syscall.Recvfrom(fd, p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n, err
	}, fd, make([]byte, 1))
}

func again(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := call(int(fd), p)
		if err != syscall.EINTR {
			return max(0, n), err
		}
	}
}
