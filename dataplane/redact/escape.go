package redact

import "unicode/utf8"

// Escape writes a byte that may not stand in a line as it is.
type Escape func(b []byte, c byte) []byte

const hexDigits = "0123456789ABCDEF"

// Common writes \xXX, as nginx does.
func Common(b []byte, c byte) []byte {
	return append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

// JSON writes what RFC 8259 §7 asks for. A byte that is no UTF-8 is shown as U+FFFD.
func JSON(b []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c >= utf8.RuneSelf:
		return append(b, `\ufffd`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// plain are the bytes that stand in a line as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7F; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// firstShown is the first rune beyond ASCII that is no control: terminals take U+009B for the beginning of a command.
const firstShown = '\u00a0'

// AppendQuoted writes text so that it can neither end the quotes around it nor the line.
func AppendQuoted(b []byte, text string, escape Escape) []byte {
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(text[i:]); r >= firstShown && size > 1 {
				i += size
				continue
			}
		}
		b = append(b, text[from:i]...)
		b = escape(b, c)
		i++
		from = i
	}
	return append(b, text[from:]...)
}
