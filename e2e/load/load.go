// Package load makes HTTP/1.1 load from one thread: a closed loop over keep-alive connections, each sending its
// next request when the last was answered.
//
// It is for benchmarks. It waits with epoll(7) and parses just enough of a response to know where it ends, so that
// what it costs is small and the same whoever answers. It measures nothing of the answering side.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Plan is one run.
type Plan struct {
	Address     netip.AddrPort
	Request     []byte // one whole request
	Connections int
	For         time.Duration
	Until       <-chan struct{} // closed to end it sooner; optional
	Core        int             // which core alone to run on; -1: any
}

// Result is what a run saw.
type Result struct {
	Requests int // answered with 200
	Failures int // answered with anything else
	Sample   string
	Elapsed  time.Duration
}

// PerSecond is the throughput.
func (r Result) PerSecond() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// Run runs a plan to its end. A connection that breaks ends the run with an error.
func Run(plan Plan) (Result, error) {
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked where it is pinned: the thread then ends with the goroutine
		if plan.Core >= 0 {
			var cores unix.CPUSet
			cores.Set(plan.Core)
			if err := unix.SchedSetaffinity(0, &cores); err != nil {
				done <- outcome{err: fmt.Errorf("pinning the load to core %d: %w", plan.Core, err)}
				return
			}
		} else {
			defer runtime.UnlockOSThread()
		}
		result, err := drive(plan)
		done <- outcome{result, err}
	}()
	o := <-done
	return o.result, o.err
}

// link is one connection.
type link struct {
	fd     int
	buffer []byte // what was read of the response so far
	length int    // of the whole response; 0 while its head is not complete
}

func drive(plan Plan) (result Result, err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return result, fmt.Errorf("epoll_create1: %w", err)
	}
	defer unix.Close(poll)
	links := make([]link, plan.Connections)
	defer func() {
		for _, l := range links {
			if l.fd != 0 {
				_ = unix.Close(l.fd)
			}
		}
	}()
	for i := range links {
		if err := links[i].open(plan.Address); err != nil {
			return result, err
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, links[i].fd, &event); err != nil {
			return result, fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	begun := time.Now()
	for i := range links {
		if err := links[i].send(plan.Request); err != nil {
			return result, err
		}
	}
	events := make([]unix.EpollEvent, plan.Connections)
	for time.Since(begun) < plan.For && !closed(plan.Until) {
		n, err := unix.EpollWait(poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return result, fmt.Errorf("epoll_wait: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			if err := links[event.Fd].step(plan.Request, &result); err != nil {
				return result, err
			}
		}
	}
	result.Elapsed = time.Since(begun)
	return result, nil
}

func (l *link) open(to netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	l.fd, l.buffer = fd, make([]byte, 0, 64<<10)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return fmt.Errorf("connecting to %v: %w", to, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("O_NONBLOCK: %w", err)
	}
	return nil
}

func (l *link) send(request []byte) error {
	n, err := unix.Write(l.fd, request)
	if err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if n < len(request) { // one small request is out at a time: the socket's buffer always takes it
		return fmt.Errorf("the socket took %d of %d bytes", n, len(request))
	}
	return nil
}

// step reads what is there, and sends the next request once the response is whole.
func (l *link) step(request []byte, result *Result) error {
	n, err := unix.Read(l.fd, l.buffer[len(l.buffer):cap(l.buffer)])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("reading a response: %w", err)
	case n == 0:
		return fmt.Errorf("the connection was closed after %q", l.buffer)
	}
	l.buffer = l.buffer[:len(l.buffer)+n]
	if l.length == 0 {
		if l.length, err = measure(l.buffer); err != nil || l.length == 0 {
			return err
		}
	}
	if len(l.buffer) < l.length {
		return nil
	}
	if len(l.buffer) > l.length || l.length > cap(l.buffer) {
		return fmt.Errorf("%d bytes came for a response of %d", len(l.buffer), l.length)
	}
	if bytes.HasPrefix(l.buffer, []byte("HTTP/1.1 200 ")) {
		result.Requests++
	} else {
		result.Failures++
		result.Sample = string(l.buffer)
	}
	l.buffer, l.length = l.buffer[:0], 0
	return l.send(request)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default: // a nil channel never closes
		return false
	}
}

// measure returns the length of the response that begins here; 0 while its head is not complete.
func measure(response []byte) (int, error) {
	head := bytes.Index(response, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil
	}
	const name = "\r\nContent-Length: "
	at := bytes.Index(response[:head], []byte(name))
	if at < 0 {
		return 0, fmt.Errorf("a response without a length: %q", response[:head])
	}
	digits := response[at+len(name):]
	length, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if err != nil {
		return 0, fmt.Errorf("a response of a strange length: %w", err)
	}
	return head + 4 + length, nil
}
