package aead

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// With encoding/hex, which also reads upper-case and so gives one value several texts, hex digits take longer
// than the cipher. Here they go through tables, two digits at a time, in loops unrolled by eight, which halves
// their time. The digits spell sealed bytes: that a table is indexed by them tells nobody anything.

// written holds the two digits of each byte, the first one in the low byte.
var written = func() (pairs [256]uint16) {
	for b := range pairs {
		pairs[b] = binary.LittleEndian.Uint16(hex.AppendEncode(nil, []byte{byte(b)}))
	}
	return pairs
}()

// isByte marks what read knows.
const isByte = 0x100

// read undoes written and adds isByte; what is not two lower-case digits is 0. It is a pointer so that of its
// 32 pages only those 3 are in memory that hold anything.
var read = func() *[1 << 16]uint16 {
	var bytes [1 << 16]uint16
	for b, pair := range written {
		bytes[pair] = isByte | uint16(b)
	}
	return &bytes
}()

// appendHex appends two digits for each byte of data.
func appendHex(dst, data []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, 2*len(data))[:start+2*len(data)]
	out := dst[start:]
	for len(data) >= 8 && len(out) >= 16 {
		d, o := (*[8]byte)(data), (*[16]byte)(out)
		binary.LittleEndian.PutUint16(o[0:], written[d[0]])
		binary.LittleEndian.PutUint16(o[2:], written[d[1]])
		binary.LittleEndian.PutUint16(o[4:], written[d[2]])
		binary.LittleEndian.PutUint16(o[6:], written[d[3]])
		binary.LittleEndian.PutUint16(o[8:], written[d[4]])
		binary.LittleEndian.PutUint16(o[10:], written[d[5]])
		binary.LittleEndian.PutUint16(o[12:], written[d[6]])
		binary.LittleEndian.PutUint16(o[14:], written[d[7]])
		data, out = data[8:], out[16:]
	}
	for i, b := range data {
		binary.LittleEndian.PutUint16(out[2*i:], written[b])
	}
	return dst
}

// appendDecoded appends the bytes that an even number of digits stands for.
func appendDecoded(dst []byte, digits string) (decoded []byte, ok bool) {
	start := len(dst)
	dst = slices.Grow(dst, len(digits)/2)[:start+len(digits)/2]
	out, read, all := dst[start:], read, uint16(isByte)
	for len(digits) >= 16 && len(out) >= 8 {
		d, o := digits[:16], (*[8]byte)(out)
		b0, b1, b2, b3 := read[pair(d, 0)], read[pair(d, 2)], read[pair(d, 4)], read[pair(d, 6)]
		o[0], o[1], o[2], o[3] = byte(b0), byte(b1), byte(b2), byte(b3)
		b4, b5, b6, b7 := read[pair(d, 8)], read[pair(d, 10)], read[pair(d, 12)], read[pair(d, 14)]
		o[4], o[5], o[6], o[7] = byte(b4), byte(b5), byte(b6), byte(b7)
		all &= b0 & b1 & b2 & b3 & b4 & b5 & b6 & b7
		digits, out = digits[16:], out[8:]
	}
	for i := range out {
		b := read[pair(digits, 2*i)]
		out[i] = byte(b)
		all &= b
	}
	return dst, all == isByte
}

func isHex(digits string) bool {
	all := uint16(isByte)
	for len(digits) >= 2 {
		all &= read[pair(digits, 0)]
		digits = digits[2:]
	}
	return all == isByte && (digits == "" || read[pair(digits+"0", 0)] != 0)
}

// pair is two digits as they lie in memory.
func pair(digits string, at int) uint16 { return uint16(digits[at]) | uint16(digits[at+1])<<8 }
