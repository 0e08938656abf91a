package hpack

import (
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// ForgetTable is a change of the dynamic table's size to 0, RFC 7541 §6.3: who was told a smaller limit has to say it at the beginning
// of the next block.
const ForgetTable = 0x20

// AppendStatus writes the pseudo-header field :status.
func AppendStatus(w []byte, status int) []byte {
	for i := 8; i <= 14; i++ {
		if s := staticValues[i]; status == int(s[0]-'0')*100+int(s[1]-'0')*10+int(s[2]-'0') {
			return append(w, 0x80|byte(i))
		}
	}
	w = append(w, 8, 3) // literal without indexing, the name of index 8
	return strconv.AppendInt(w, int64(status), 10)
}

// AppendField writes a field, its name in lower case.
func AppendField(w []byte, name, value string) []byte {
	w = appendName(w, name)
	w = appendNumber(w, 7, 0, len(value))
	return append(w, value...)
}

// AppendNumber writes a field whose value is a number that is not negative.
func AppendNumber(w []byte, name string, n int64) []byte {
	var digits [20]byte
	value := strconv.AppendInt(digits[:0], n, 10)
	w = appendName(w, name)
	w = append(w, byte(len(value)))
	return append(w, value...)
}

func appendName(w []byte, name string) []byte {
	if len(name) < len(nameIndex) {
		for _, i := range nameIndex[len(name)] {
			if exchange.EqualFold(staticNames[i], name) {
				return appendNumber(w, 4, 0, int(i))
			}
		}
	}
	w = append(w, 0)
	w = appendNumber(w, 7, 0, len(name))
	start := len(w)
	w = append(w, name...)
	exchange.Lower(w[start:])
	return w
}

// appendNumber writes an integer with a prefix of that many bits, RFC 7541 §5.1.
func appendNumber(w []byte, bits uint8, flags byte, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(w, flags|byte(n))
	}
	w = append(w, flags|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		w = append(w, byte(n)|0x80)
	}
	return append(w, byte(n))
}
