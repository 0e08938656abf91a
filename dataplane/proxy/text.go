package proxy

import (
	"net/netip"
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// addrText writes an address into the arena.
func addrText(ex *exchange.Exchange, addr netip.Addr) string {
	const longest = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
	return exchange.View(addr.AppendTo(ex.Bytes(longest)[:0]))
}

// numberText writes a number into the arena.
func numberText(ex *exchange.Exchange, n int64) string {
	return exchange.View(strconv.AppendInt(ex.Bytes(20)[:0], n, 10))
}

// escaped writes a path into the arena as it may stand in a request target.
func escaped(ex *exchange.Exchange, path string) string {
	return exchange.View(exchange.AppendEscaped(ex.Bytes(3 * len(path))[:0], path))
}
