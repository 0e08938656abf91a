package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports are handed out below the range that the kernel takes outgoing connections from (32768 and up), so that
// a port stays free while its process is dead for a moment.
const (
	firstPort = 12000
	manyPorts = 20000
)

// next is where the search goes on: at a random place, since other test binaries search at the same time.
var next atomic.Uint32

// FreePort returns a loopback port that nobody listens on now.
func FreePort(t T) int {
	t.Helper()
	next.CompareAndSwap(0, rand.Uint32N(manyPorts)+1)
	for range 1000 {
		port := firstPort + int(next.Add(1)%manyPorts)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = listener.Close()
		return port
	}
	t.Fatalf("no free port between %d and %d", firstPort, firstPort+manyPorts)
	return 0
}

// FreeAddress is [FreePort] with the loopback address before it.
func FreeAddress(t T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}
