// Package format holds the checks of single strings that a pattern would say badly, with Kong's message for
// each. It knows nothing of entities and never repeats the value of a key.
package format

import (
	"fmt"
	"regexp"
	"strings"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"
	"github.com/keepgate/keepgate/shared/reserved"
)

// Check checks one value. It returns the value as it is to be stored and an empty message, or what is wrong.
func Check(f schemav1.Format, s string) (canonical, message string) {
	switch f {
	case schemav1.Format_FORMAT_NAME:
		return s, name(s)
	case schemav1.Format_FORMAT_UUID:
		return uuid(s)
	case schemav1.Format_FORMAT_HOST:
		return s, plainHost(s)
	case schemav1.Format_FORMAT_TARGET:
		return target(s)
	case schemav1.Format_FORMAT_PATH:
		return s, path(s)
	case schemav1.Format_FORMAT_ROUTE_PATH:
		return s, routePath(s)
	case schemav1.Format_FORMAT_ROUTE_HOST:
		return s, routeHost(s)
	case schemav1.Format_FORMAT_SNI:
		return s, serverName(s)
	case schemav1.Format_FORMAT_TAG:
		return s, tag(s)
	case schemav1.Format_FORMAT_CERTIFICATE:
		_, message = certificates(s)
		return s, message
	case schemav1.Format_FORMAT_PRIVATE_KEY:
		_, message = privateKey(s)
		return s, message
	case schemav1.Format_FORMAT_CA_CERTIFICATE:
		return s, caCertificate(s)
	case schemav1.Format_FORMAT_HEADER_NAME:
		return s, headerName(s)
	case schemav1.Format_FORMAT_WRITABLE_HEADER_NAME:
		return s, writableHeaderName(s)
	case schemav1.Format_FORMAT_UPSTREAM_NAME:
		return s, upstreamName(s)
	case schemav1.Format_FORMAT_IP_OR_CIDR:
		return s, ipOrCIDR(s)
	case schemav1.Format_FORMAT_HOST_HEADER:
		return s, hostHeader(s)
	case schemav1.Format_FORMAT_ORIGIN:
		return s, origin(s)
	}
	return s, ""
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func name(s string) string {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c < 0x80 && !strings.ContainsRune(".-_~", rune(c)) {
			return "invalid value '" + s + "': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
		}
	}
	return ""
}

func origin(s string) string {
	if _, err := regexp.Compile(s); s != "*" && err != nil {
		return "'" + s + "' is not a valid regex"
	}
	return ""
}

func tag(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == ',' || c == '/' || c == 0x7f {
			return "invalid tag '" + s + "': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
		}
	}
	return ""
}

// IsUUID says whether s is written like a UUID, in either case.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
	}
	return true
}

func uuid(s string) (string, string) {
	if !IsUUID(s) {
		return s, "expected a valid UUID"
	}
	return strings.ToLower(s), ""
}

func headerName(s string) string {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return "bad header name '" + s + "', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
		}
	}
	return ""
}

func writableHeaderName(s string) string {
	if message := headerName(s); message != "" {
		return message
	}
	if reserved.Header(s) {
		return "'" + s + "' is a header that the gateway itself speaks by"
	}
	return ""
}

// path checks an RFC 3986 path that starts with "/".
func path(s string) string {
	if !strings.HasPrefix(s, "/") {
		return "should start with: /"
	}
	if strings.Contains(s, "//") {
		return "must not have empty segments"
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && !strings.ContainsRune("-._~/%:@!$&'()*+,;=", rune(c)) {
			return "invalid path: '" + s + "' (characters outside of the reserved list of RFC 3986 found)"
		}
	}
	return escapes(s)
}

// escapes checks that every "%" begins two hexadecimal digits.
func escapes(s string) string {
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0) {
			return "invalid url-encoded value: '" + s[i:min(i+3, len(s))] + "'"
		}
	}
	return ""
}

func routePath(s string) string {
	pattern, isPattern := strings.CutPrefix(s, "~")
	if !strings.HasPrefix(pattern, "/") {
		return "should start with: / (fixed path) or ~/ (regex path)"
	}
	if strings.Contains(s, "//") {
		return "must not have empty segments"
	}
	if isPattern {
		if _, err := regexp.Compile(pattern); err != nil {
			return fmt.Sprintf("invalid regex: '%s' (RE2 returned: %v)", pattern, err)
		}
		return ""
	}
	if message := escapes(s); message != "" {
		return message
	}
	if normal := normalise(s); normal != s {
		return "non-normalized path, consider use '" + normal + "' instead"
	}
	return ""
}

// normalise decodes what needs no escape, writes the other escapes in upper case and removes dot segments
// (RFC 3986 §6.2.2). Control characters stay escaped.
func normalise(s string) string {
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			decoded = append(decoded, s[i])
			continue
		}
		c := byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
		if c < ' ' || c == 0x7f || strings.IndexByte(":/?#[]@!$&'()*+,;=%", c) >= 0 {
			decoded = append(decoded, '%', upper(s[i+1]), upper(s[i+2]))
		} else {
			decoded = append(decoded, c)
		}
		i += 2
	}
	return removeDots(string(decoded))
}

func removeDots(s string) string {
	segments := strings.Split(s, "/")
	kept := make([]string, 0, len(segments))
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
		case "..":
			if len(kept) > 1 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, segment)
			continue
		}
		if last {
			kept = append(kept, "") // the directory itself keeps its slash
		}
	}
	return strings.Join(kept, "/")
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'f' {
		return c - 'a' + 'A'
	}
	return c
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
