package aead

import (
	"encoding/binary"
	"slices"
)

// Hex digits are written and read eight at a time, one in each byte of a word: with encoding/hex, which
// also reads upper-case and so gives one value several texts, they take longer than the cipher.

const (
	ones    = 0x0101010101010101
	nibbles = 0x0f * ones
	letters = 'a' - '0' - 10 // what a digit above 9 lies further on
)

// digitsOf spells out the eight nibbles of word, one in each byte.
func digitsOf(word uint64) uint64 {
	above9 := (word + 6*ones) >> 4 & ones
	return word + '0'*ones + above9*letters
}

// nibblesOf reads eight digits; wrong is not 0 when one is not a lower-case hex digit.
func nibblesOf(digits uint64) (word, wrong uint64) {
	letter := digits >> 6 & ones
	word = digits&nibbles + letter*9
	return word, word&^nibbles | (digitsOf(word) ^ digits)
}

// spread puts each nibble of half into a byte of its own; gather undoes it.
func spread(half uint32) uint64 {
	word := uint64(half)
	word = (word | word<<16) & 0x0000ffff0000ffff
	word = (word | word<<8) & 0x00ff00ff00ff00ff
	return (word | word<<4) & nibbles
}

func gather(word uint64) uint32 {
	word = (word | word>>4) & 0x00ff00ff00ff00ff
	word = (word | word>>8) & 0x0000ffff0000ffff
	return uint32(word | word>>16)
}

// appendHex appends two digits for each byte of data.
func appendHex(dst, data []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, 2*len(data))[:start+2*len(data)]
	out := dst[start:]
	for len(data) >= 4 && len(out) >= 8 {
		binary.BigEndian.PutUint64(out, digitsOf(spread(binary.BigEndian.Uint32(data))))
		data, out = data[4:], out[8:]
	}
	var rest [4]byte
	var digits [8]byte
	copy(rest[:], data)
	binary.BigEndian.PutUint64(digits[:], digitsOf(spread(binary.BigEndian.Uint32(rest[:]))))
	copy(out, digits[:])
	return dst
}

// appendDecoded appends the bytes that an even number of digits stands for.
func appendDecoded(dst []byte, digits string) (decoded []byte, ok bool) {
	start := len(dst)
	dst = slices.Grow(dst, len(digits)/2)[:start+len(digits)/2]
	out, wrong := dst[start:], uint64(0)
	for len(digits) >= 8 && len(out) >= 4 {
		word, not := nibblesOf(first8(digits))
		wrong |= not
		binary.BigEndian.PutUint32(out, gather(word))
		digits, out = digits[8:], out[4:]
	}
	word, not := nibblesOf(first8((digits + "00000000")[:8]))
	var rest [4]byte
	binary.BigEndian.PutUint32(rest[:], gather(word))
	copy(out, rest[:])
	return dst, wrong|not == 0
}

func isHex(digits string) bool {
	wrong := uint64(0)
	for len(digits) >= 8 {
		_, not := nibblesOf(first8(digits))
		wrong |= not
		digits = digits[8:]
	}
	_, not := nibblesOf(first8((digits + "00000000")[:8]))
	return wrong|not == 0
}

func first8(s string) uint64 {
	_ = s[7]
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}
