package exchange

import (
	"errors"
	"strings"
)

// ErrPath is a path that cannot be normalised without guessing.
var ErrPath = errors.New("path cannot be normalised")

// Normalise brings a raw path into the one form that is matched, authorised and forwarded, appending it to dst.
//
//   - A percent-encoded byte is decoded, except reserved ones (RFC 3986 §2.2), "%" and control bytes: those stay
//     encoded, in upper case. So "%2F" never becomes a "/" and "%252e" never becomes a "."; a path that is
//     matched as "/a%2Fb" is forwarded as "/a%2Fb". Spaces and non-ASCII bytes are decoded, as Kong does.
//   - Runs of "/" become one, "." and ".." segments are removed; ".." at the root stays at the root.
//
// [AppendEscaped] turns the form into a valid request target, and normalising that gives the same form
// again: there is no second reading. Refused with ErrPath: a "%" without two hexadecimal digits, control bytes, "?", "#", and
// dot segments that only some servers would see: next to an encoded slash, a backslash ("/a/..%2Fb", "/..\b"),
// or followed by a path parameter ("/..;x/"). No honest client sends them, and they are how rules on paths are passed by.
func Normalise(dst []byte, raw string) ([]byte, error) {
	if raw == "" || raw[0] != '/' {
		return dst, ErrPath
	}
	root := len(dst)
	dst = append(dst, '/')
	for i := 1; i <= len(raw); {
		start, doubt := len(dst), false
		for i < len(raw) && raw[i] != '/' {
			c := raw[i]
			if c != '%' {
				if c < ' ' || c == 0x7F || c == '?' || c == '#' {
					return dst, ErrPath
				}
				doubt = doubt || c == '\\' || c == ';'
				dst = append(dst, c)
				i++
				continue
			}
			decoded, ok := percent(raw, i)
			if !ok {
				return dst, ErrPath
			}
			if keepEncoded[decoded] {
				doubt = doubt || decoded == '/' || decoded == ';'
				dst = append(dst, '%', upperHex[decoded>>4], upperHex[decoded&15])
			} else {
				doubt = doubt || decoded == '\\'
				dst = append(dst, decoded)
			}
			i += 3
		}
		if doubt && hidesDots(dst[start:]) {
			return dst, ErrPath
		}
		dst = endSegment(dst, root, start, i < len(raw))
		i++
	}
	return dst, nil
}

// endSegment closes the segment dst[start:]: keeps it, or removes it when it is empty or of dots.
func endSegment(dst []byte, root, start int, slash bool) []byte {
	switch segment := dst[start:]; {
	case len(segment) == 0, string(segment) == ".":
		return dst[:start]
	case string(segment) == "..":
		end := start - 1
		for end > root && dst[end-1] != '/' {
			end--
		}
		return dst[:max(end, root+1)]
	}
	if slash {
		dst = append(dst, '/')
	}
	return dst
}

// HidesDots says whether the first segment of path, which is normalised or the rest of what was, is "." or ".." to some
// server: plainly, or where it takes backslashes or encoded slashes for "/" or cuts path parameters. Whoever cuts a
// normalised path inside a segment has to ask: "/foo../x" without "/foo" is "../x".
func HidesDots(path string) bool {
	if i := strings.IndexByte(path, '/'); i >= 0 {
		path = path[:i]
	}
	return path != "" && hidesDots([]byte(path))
}

// hidesDots is HidesDots of one segment.
func hidesDots(segment []byte) bool {
	part, params := 0, false // length of the part so far; after ";" it is over
	dots := true
	for i := 0; i <= len(segment); i++ {
		end := i == len(segment)
		skip := 0
		if !end {
			switch c := segment[i]; {
			case c == '\\':
				end = true
			case c == '%' && escapes(segment[i:], "%2F"):
				end, skip = true, 2
			case c == ';', c == '%' && escapes(segment[i:], "%3B"):
				params = true
			}
		}
		switch {
		case end:
			if dots && (part == 1 || part == 2) {
				return true
			}
			part, dots, params = 0, true, false
			i += skip
		case params:
		default:
			dots = dots && segment[i] == '.'
			part++
		}
	}
	return false
}

// escapes says whether s begins with that escape. A path that was cut may end inside one.
func escapes(s []byte, escape string) bool { return len(s) >= 3 && string(s[:3]) == escape }

// AppendEscaped appends path in the form that may stand in a request target: bytes which may not are
// percent-encoded, everything else, "%2F" included, stays.
func AppendEscaped(dst []byte, path string) []byte {
	for i := range len(path) {
		if c := path[i]; targetBytes[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

const upperHex = "0123456789ABCDEF"

func percent(s string, i int) (byte, bool) {
	if i+2 >= len(s) {
		return 0, false
	}
	hi, lo := unhex(s[i+1]), unhex(s[i+2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// keepEncoded are the bytes that stay percent-encoded: reserved, "%", controls.
var keepEncoded = table(func(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '(', ')', '*', '+', ',', '/', ':', ';', '=', '?', '@', '[', ']', 0x7F:
		return true
	}
	return c < ' '
})

// targetBytes are the bytes that may stand unencoded in the path of a target: pchar, "/" (RFC 3986 §3.3), "%" because
// what still has one is an encoded byte, and "[" and "]", which a path should not hold but which clients send and
// which Normalise keeps apart from "%5B" and "%5D".
var targetBytes = table(func(c byte) bool {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		return true
	}
	switch c {
	case '-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', ':', '@', '/', '%', '[', ']':
		return true
	}
	return false
})
