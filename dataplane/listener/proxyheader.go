package listener

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt. A proxy says before
// the first byte of the client whose connection it passes on. Nothing else may come first, and nothing is guessed.
const (
	signature2  = "\r\n\r\n\x00\r\nQUIT\n" // §2.2
	signature1  = "PROXY "
	mostLine    = 107     // §2.1, the line's end included
	mostHeader2 = 4 << 10 // what follows version 2's first 16 bytes, vendors' fields included
)

// proxied is what a header says. Both addresses are zero when the proxy speaks for itself, or does not know them.
type proxied struct{ remote, local netip.AddrPort }

var errProxyHeader = errors.New("not a PROXY protocol header")

// readProxyHeader reads one header from r and not a byte more.
func readProxyHeader(r io.Reader) (proxied, error) {
	var start [len(signature2)]byte // version 1's shortest line is longer
	if _, err := io.ReadFull(r, start[:]); err != nil {
		return proxied{}, err
	}
	switch {
	case string(start[:]) == signature2:
		return readVersion2(r)
	case bytes.HasPrefix(start[:], []byte(signature1)):
		return readVersion1(r, start[:])
	}
	return proxied{}, errProxyHeader
}

// readVersion1 reads the rest of a line, no further than it must go.
func readVersion1(r io.Reader, start []byte) (proxied, error) {
	line := append(make([]byte, 0, mostLine), start...)
	for !bytes.HasSuffix(line, []byte("\r\n")) {
		n := 2
		if line[len(line)-1] == '\r' {
			n = 1
		}
		if len(line)+n > mostLine {
			return proxied{}, fmt.Errorf("%w: the line is too long", errProxyHeader)
		}
		from := len(line)
		line = line[:from+n]
		if _, err := io.ReadFull(r, line[from:]); err != nil {
			return proxied{}, err
		}
		if from > 0 && bytes.IndexByte(line[from-1:], '\n') >= 0 && !bytes.HasSuffix(line, []byte("\r\n")) {
			return proxied{}, fmt.Errorf("%w: the line ends badly", errProxyHeader)
		}
	}
	return parseVersion1(string(line[:len(line)-2]))
}

// parseVersion1 reads "PROXY TCP4 <source> <destination> <source port> <destination port>".
func parseVersion1(line string) (proxied, error) {
	words := strings.Split(line, " ")
	if len(words) >= 2 && words[1] == "UNKNOWN" {
		return proxied{}, nil // what follows is to be ignored, §2.1
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return proxied{}, errProxyHeader
	}
	remote, ok1 := endpoint(words[1] == "TCP4", words[2], words[4])
	local, ok2 := endpoint(words[1] == "TCP4", words[3], words[5])
	if !ok1 || !ok2 {
		return proxied{}, fmt.Errorf("%w: an address or a port is wrong", errProxyHeader)
	}
	return proxied{remote, local}, nil
}

func endpoint(four bool, address, port string) (netip.AddrPort, bool) {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(number, 10) != port {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(address)
	if err != nil || addr.Is4() != four || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), true
}

// readVersion2 reads what follows the signature: version and command, family, length, addresses, vendors' fields.
func readVersion2(r io.Reader) (proxied, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return proxied{}, err
	}
	length := int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case head[0] != 0x20 && head[0] != 0x21:
		return proxied{}, fmt.Errorf("%w: version and command %#x are not known", errProxyHeader, head[0])
	case length > mostHeader2:
		return proxied{}, fmt.Errorf("%w: %d bytes are too many", errProxyHeader, length)
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return proxied{}, err
	}
	if head[0] == 0x20 { // LOCAL: the proxy's own connection, a health check
		return proxied{}, nil
	}
	return parseVersion2(head[1], rest)
}

// parseVersion2 reads the addresses. Vendors' fields behind them are skipped.
func parseVersion2(family byte, rest []byte) (proxied, error) {
	size := 0
	switch family {
	case 0x00: // unspecified
		return proxied{}, nil
	case 0x11: // TCP over IPv4
		size = 4
	case 0x21: // TCP over IPv6
		size = 16
	case 0x31: // a UNIX socket, of two paths
		if len(rest) < 216 {
			return proxied{}, fmt.Errorf("%w: it is too short for its addresses", errProxyHeader)
		}
		return proxied{}, nil
	default:
		return proxied{}, fmt.Errorf("%w: the protocol %#x is not TCP", errProxyHeader, family)
	}
	if len(rest) < 2*size+4 {
		return proxied{}, fmt.Errorf("%w: it is too short for its addresses", errProxyHeader)
	}
	at := func(address, port int) netip.AddrPort {
		addr, _ := netip.AddrFromSlice(rest[address : address+size])
		return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(rest[port:]))
	}
	return proxied{at(0, 2*size), at(size, 2*size+2)}, nil
}
