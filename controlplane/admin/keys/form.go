package keys

import (
	"bytes"

	"github.com/keepgate/keepgate/shared/schema"
)

// form reads what net/url would, without leaving copies of values in strings, which nobody can wipe.
func (a arguments) form(body []byte) error {
	if bytes.Count(body, []byte("&")) >= schema.MaxArguments {
		return schema.ErrTooManyArguments
	}
	for pair := range bytes.SplitSeq(body, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		if bytes.IndexByte(pair, ';') >= 0 { // which once parted fields too
			return schema.ErrForm
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		plain, ok := unescape(name)
		if !ok {
			return schema.ErrForm
		}
		wanted, err := a.wants(string(plain))
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if a.values[string(plain)], ok = unescape(value); !ok {
			return schema.ErrForm
		}
	}
	return nil
}

// unescape decodes a name or value of a form (URL Standard, section 5.1) into a copy of its own.
func unescape(escaped []byte) (plain []byte, ok bool) {
	plain = make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		switch c := escaped[i]; c {
		case '+':
			plain = append(plain, ' ')
		case '%':
			if i+2 >= len(escaped) {
				return plain, false
			}
			high, low := nibble(escaped[i+1]), nibble(escaped[i+2])
			if high > 15 || low > 15 {
				return plain, false
			}
			plain = append(plain, high<<4|low)
			i += 2
		default:
			plain = append(plain, c)
		}
	}
	return plain, true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}
