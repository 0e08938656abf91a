package enrol

import (
	"net/netip"
	"sync"
)

// Strangers can connect and say nothing for as long as an exchange may take. How many may be here at once, from one
// network and in all, and for how many of them work is done at a time.
const (
	waitingOfNetwork = 32
	waitingInAll     = 512
	joinsAtOnce      = 16
)

// crowd counts who is here. The zero value is empty.
type crowd struct {
	mu       sync.Mutex
	networks map[netip.Prefix]int // guarded by mu
	all      int                  // guarded by mu
}

// enter lets one in, unless there are too many; leave must follow.
func (c *crowd) enter(from netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	network := networkOf(from)
	if c.all >= waitingInAll || c.networks[network] >= waitingOfNetwork {
		return false
	}
	if c.networks == nil {
		c.networks = map[netip.Prefix]int{}
	}
	c.networks[network]++
	c.all++
	return true
}

func (c *crowd) leave(from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	network := networkOf(from)
	c.all--
	if c.networks[network]--; c.networks[network] <= 0 {
		delete(c.networks, network)
	}
}

// networkOf is an address, or the /64 that a host of IPv6 has.
func networkOf(from netip.Addr) netip.Prefix {
	bits := 32
	if from.Is6() {
		bits = 64
	}
	network, _ := from.Prefix(bits) // of no address it is no network, which all without one share
	return network
}
