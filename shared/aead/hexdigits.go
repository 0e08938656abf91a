package aead

const notHex = 0xff

// digitValue maps a lower-case hex digit to its value and every other byte to notHex: encoding/hex also
// takes upper-case, which would give one value several texts.
var digitValue = func() (table [256]byte) {
	for i := range table {
		table[i] = notHex
	}
	for i, c := range "0123456789abcdef" {
		table[c] = byte(i)
	}
	return table
}()

// appendDecoded appends the bytes that digits stand for, up to the first pair that is none.
func appendDecoded(dst []byte, digits string) []byte {
	for len(digits) >= 2 {
		high, low := digitValue[digits[0]], digitValue[digits[1]]
		if high|low == notHex {
			break
		}
		dst = append(dst, high<<4|low)
		digits = digits[2:]
	}
	return dst
}

func isHex(digits string) bool {
	var seen byte
	for i := range len(digits) {
		seen |= digitValue[digits[i]]
	}
	return seen != notHex
}
