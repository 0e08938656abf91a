package revocation

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"slices"
)

// serial is a serial number in a form that compares as bytes: its length, then its 20 bytes at most (RFC 5280
// §4.1.2.2). Longer and negative ones, which no authority may give, stand by their hash.
type serial [21]byte

func serialOf(n *big.Int) serial {
	var s serial
	if n == nil {
		return s
	}
	if b := n.Bytes(); n.Sign() >= 0 && len(b) <= 20 {
		s[0] = byte(len(b))
		copy(s[1:], b)
		return s
	}
	sum := sha256.Sum256([]byte(n.String()))
	s[0] = 0xff
	copy(s[1:], sum[:])
	return s
}

// serials is what a list revokes, sorted.
type serials struct{ sorted []serial }

func newSerials(entries []x509.RevocationListEntry) *serials {
	list := make([]serial, 0, len(entries))
	for _, e := range entries {
		list = append(list, serialOf(e.SerialNumber))
	}
	slices.SortFunc(list, func(a, b serial) int { return bytes.Compare(a[:], b[:]) })
	return &serials{slices.Clip(slices.Compact(list))}
}

func (s *serials) has(of *serial) bool {
	low, high := 0, len(s.sorted)
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch bytes.Compare(s.sorted[middle][:], of[:]) {
		case 0:
			return true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return false
}

func (s *serials) bytes() int64 { return int64(len(s.sorted)) * int64(len(serial{})) }

// hexOf writes a serial number as people see it in other tools.
func hexOf(n *big.Int) string {
	if n == nil {
		return "none"
	}
	b := n.Bytes()
	return hex.EncodeToString(b[:min(len(b), 32)])
}
