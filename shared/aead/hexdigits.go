package aead

import "encoding/binary"

// Hex digits are taken eight at a time, one in each byte of a word: half of the time to seal 1 KiB as
// text would go to encoding/hex, which also reads upper-case and so gives one value several texts.

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

// nibblesOf reads eight digits; ok is false when one is not a lower-case hex digit.
func nibblesOf(digits uint64) (word uint64, ok bool) {
	letter := digits >> 6 & ones
	word = digits&nibbles + letter*9
	return word, word&^nibbles == 0 && digitsOf(word) == digits
}

// appendHex appends two digits for each byte of data.
func appendHex(dst, data []byte) []byte {
	for len(data) >= 4 {
		dst = binary.BigEndian.AppendUint64(dst, digitsOf(spread(binary.BigEndian.Uint32(data))))
		data = data[4:]
	}
	var rest [4]byte
	n := copy(rest[:], data)
	var digits [8]byte
	binary.BigEndian.PutUint64(digits[:], digitsOf(spread(binary.BigEndian.Uint32(rest[:]))))
	return append(dst, digits[:2*n]...)
}

// appendDecoded appends the bytes that an even number of digits stands for.
func appendDecoded(dst []byte, digits string) (decoded []byte, ok bool) {
	for len(digits) >= 8 {
		word, ok := nibblesOf(first8(digits))
		if !ok {
			return dst, false
		}
		dst = binary.BigEndian.AppendUint32(dst, gather(word))
		digits = digits[8:]
	}
	word, ok := nibblesOf(first8((digits + "00000000")[:8]))
	var rest [4]byte
	binary.BigEndian.PutUint32(rest[:], gather(word))
	return append(dst, rest[:len(digits)/2]...), ok
}

func isHex(digits string) bool {
	for len(digits) >= 8 {
		if _, ok := nibblesOf(first8(digits)); !ok {
			return false
		}
		digits = digits[8:]
	}
	_, ok := nibblesOf(first8((digits + "00000000")[:8]))
	return ok
}

func first8(s string) uint64 {
	_ = s[7]
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
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
