// Package ports gives tests and benchmarks loopback ports that nobody else takes: not while the server that has one
// is down for a moment, and not between the choice of a port and its use.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
)

// Ports are handed out below the range that the kernel takes outgoing connections from (32768 and up). A server that
// starts again on a port of that range may find it in use by somebody's connection.
const (
	first = 12000
	many  = 20000
)

// claimed are the ports of this process, by the sockets that say so to others: it is the package's only state, since
// a claim lasts until the process ends.
var claimed struct {
	mu      sync.Mutex
	next    int
	sockets []net.Listener
}

var errNone = errors.New("no free port")

// Claim returns a loopback port that nobody listens on, and keeps it from every other process that asks here. A
// socket with a name in the kernel's abstract space (unix(7)) stands for the claim: it goes when the process does.
func Claim() (int, error) {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	if claimed.next == 0 {
		claimed.next = rand.IntN(many) // other test binaries search at the same time
	}
	for range 1000 {
		claimed.next++
		port := first + claimed.next%many
		claim, err := net.Listen("unix", fmt.Sprintf("@keepgate-port-%d", port))
		if err != nil {
			continue
		}
		if !free(port) {
			_ = claim.Close()
			continue
		}
		claimed.sockets = append(claimed.sockets, claim)
		return port, nil
	}
	return 0, fmt.Errorf("%w among 1000 from %d on", errNone, first)
}

// free listens for a moment. A process that is forked meanwhile would keep the socket until it executes its program,
// and the port with it.
func free(port int) bool {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	_ = probe.Close()
	return true
}
