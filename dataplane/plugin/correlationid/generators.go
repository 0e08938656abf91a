package correlationid

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

const uuidLength = 36

// random is a UUID of version 4, RFC 9562 §5.4.
func (*process) random(ex *exchange.Exchange) string {
	return exchange.View(appendUUID(ex.Bytes(uuidLength)[:0]))
}

// counted is the process's UUID and the number of the request.
func (p *process) counted(ex *exchange.Exchange) string {
	b := append(ex.Bytes(len(p.uuid) + 20)[:0], p.uuid...)
	return exchange.View(strconv.AppendUint(b, p.counter.Add(1), 10))
}

// tracker is ip-port-pid-connection-request-time. The address is the one that the client reached, the connection is
// named by the client's port, requests are counted for the process, and time is in seconds with three decimals.
func (p *process) tracker(ex *exchange.Exchange) string {
	const longest = len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") + len("-65535-65535-") + 3*20 + len("-.000")
	local := ex.Request.Local
	b := ex.Bytes(longest + len(p.pid))[:0]
	b = appendAddr(b, local.Addr())
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(local.Port()), 10)
	b = append(b, p.pid...)
	b = strconv.AppendUint(b, uint64(ex.Request.Remote.Port()), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, p.counter.Add(1), 10)
	b = append(b, '-')
	now := time.Now().UnixMilli()
	b = strconv.AppendInt(b, now/1000, 10)
	rest := now % 1000
	b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	return exchange.View(b)
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, '0')
	}
	return addr.Unmap().WithZone("").AppendTo(b)
}

// appendUUID appends a UUID of version 4.
func appendUUID(dst []byte) []byte {
	const digits = "0123456789abcdef"
	hi, lo := rand.Uint64(), rand.Uint64()
	hi = hi&^0xF000 | 0x4000
	lo = lo&^(0xC0<<56) | 0x80<<56
	for i := range uuidLength {
		switch i {
		case 8, 13, 18, 23:
			dst = append(dst, '-')
			continue
		}
		dst = append(dst, digits[hi>>60])
		hi = hi<<4 | lo>>60
		lo <<= 4
	}
	return dst
}
