package aead

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// With encoding/base64 the digits take longer than the cipher, as with hex (hexdigits.go). Here 12 bits and their two
// digits go through tables, in loops unrolled by four times eight digits, which halves their time. What ends a text,
// its padding above all, is left to encoding/base64. The digits spell sealed bytes: that a table is indexed by them
// tells nobody anything.

// strictBase64 refuses bits beside those of a value.
var strictBase64 = base64.StdEncoding.Strict()

// base64Pairs holds two digits for each 12 bits, the first one in the low byte.
var base64Pairs = func() (pairs [1 << 12]uint16) {
	for bits := range pairs {
		digits := base64.StdEncoding.EncodeToString([]byte{byte(bits >> 4), byte(bits << 4), 0})
		pairs[bits] = uint16(digits[0]) | uint16(digits[1])<<8
	}
	return pairs
}()

const (
	// isPair marks what base64Bits knows.
	isPair = 1 << 12
	// pairMarks are the marks that stand in others' bits where four of its values are joined.
	pairMarks = isPair<<40 ^ isPair<<28 ^ isPair<<16
)

// base64Bits undoes base64Pairs and adds isPair; what is no pair of digits is 0. It is a pointer so that of its 32
// pages only those 11 are in memory that hold anything.
var base64Bits = func() *[1 << 16]uint16 {
	var bits [1 << 16]uint16
	for b, pair := range base64Pairs {
		bits[pair] = isPair | uint16(b)
	}
	return &bits
}()

// appendBase64 appends data in base64, standard and padded.
func appendBase64(dst, data []byte) []byte {
	start, sixes := len(dst), max(0, len(data)-2)/6 // that two more bytes follow
	dst = slices.Grow(dst, base64.StdEncoding.EncodedLen(len(data)))[:start+8*sixes]
	out := dst[start:]
	for len(data) >= 26 && len(out) >= 32 {
		d, o := (*[26]byte)(data), (*[32]byte)(out)
		binary.LittleEndian.PutUint64(o[0:], digitsOf(binary.BigEndian.Uint64(d[0:])))
		binary.LittleEndian.PutUint64(o[8:], digitsOf(binary.BigEndian.Uint64(d[6:])))
		binary.LittleEndian.PutUint64(o[16:], digitsOf(binary.BigEndian.Uint64(d[12:])))
		binary.LittleEndian.PutUint64(o[24:], digitsOf(binary.BigEndian.Uint64(d[18:])))
		data, out = data[24:], out[32:]
	}
	for len(data) >= 8 && len(out) >= 8 {
		binary.LittleEndian.PutUint64(out, digitsOf(binary.BigEndian.Uint64(data)))
		data, out = data[6:], out[8:]
	}
	return base64.StdEncoding.AppendEncode(dst, data)
}

// digitsOf are the eight digits of the upper six bytes.
func digitsOf(six uint64) uint64 {
	return uint64(base64Pairs[six>>52]) | uint64(base64Pairs[six>>40&0xfff])<<16 |
		uint64(base64Pairs[six>>28&0xfff])<<32 | uint64(base64Pairs[six>>16&0xfff])<<48
}

// appendDecodedBase64 appends what text stands for. Each value has exactly one text: no line breaks, which
// encoding/base64 skips, no other padding, and no bits beside those of the value.
func appendDecodedBase64(dst []byte, text string) (decoded []byte, ok bool) {
	start, sixes := len(dst), max(0, len(text)-1)/8 // the last eight digits may be padded
	dst = slices.Grow(dst, 6*(sixes+2))
	out, bits, all := dst[start:start+6*sixes+2], base64Bits, uint16(isPair)
	for len(text) > 32 && len(out) >= 26 { // of eight bytes six count: the next ones go over the last two
		d, o := text[:32], (*[26]byte)(out)
		a0, a1, a2, a3 := bits[pair(d, 0)], bits[pair(d, 2)], bits[pair(d, 4)], bits[pair(d, 6)]
		binary.BigEndian.PutUint64(o[0:], joined(a0, a1, a2, a3))
		b0, b1, b2, b3 := bits[pair(d, 8)], bits[pair(d, 10)], bits[pair(d, 12)], bits[pair(d, 14)]
		binary.BigEndian.PutUint64(o[6:], joined(b0, b1, b2, b3))
		c0, c1, c2, c3 := bits[pair(d, 16)], bits[pair(d, 18)], bits[pair(d, 20)], bits[pair(d, 22)]
		binary.BigEndian.PutUint64(o[12:], joined(c0, c1, c2, c3))
		d0, d1, d2, d3 := bits[pair(d, 24)], bits[pair(d, 26)], bits[pair(d, 28)], bits[pair(d, 30)]
		binary.BigEndian.PutUint64(o[18:], joined(d0, d1, d2, d3))
		all &= a0 & a1 & a2 & a3 & b0 & b1 & b2 & b3 & c0 & c1 & c2 & c3 & d0 & d1 & d2 & d3
		text, out = text[32:], out[24:]
	}
	for len(text) > 8 && len(out) >= 8 {
		a0, a1, a2, a3 := bits[pair(text, 0)], bits[pair(text, 2)], bits[pair(text, 4)], bits[pair(text, 6)]
		binary.BigEndian.PutUint64(out, joined(a0, a1, a2, a3))
		all &= a0 & a1 & a2 & a3
		text, out = text[8:], out[6:]
	}
	if all != isPair {
		return dst, false
	}
	var last [8]byte
	for i := range copy(last[:], text) {
		if last[i] == '\n' || last[i] == '\r' {
			return dst, false
		}
	}
	dst, err := strictBase64.AppendDecode(dst[:start+6*sixes], last[:len(text)])
	return dst, err == nil
}

// joined are the bits of four pairs, in the upper six bytes.
func joined(a, b, c, d uint16) uint64 {
	return uint64(a)<<52 ^ uint64(b)<<40 ^ uint64(c)<<28 ^ uint64(d)<<16 ^ pairMarks
}
