package table

import "strings"

// Join writes the upstream's path as Kong's path_handling v0 does: base is the service's path ("/" when it has
// none), path the request's, stripped the number of its first bytes that strip_path removes. The result is
// appended to dst.
func Join(dst []byte, base, path string, stripped int) []byte {
	if stripped == 0 {
		return joinWhole(dst, base, path)
	}
	rest := path[stripped:]
	if strings.HasSuffix(base, "/") {
		if rest == "" {
			if len(base) > 1 && !strings.HasSuffix(path, "/") {
				base = base[:len(base)-1]
			}
			return append(dst, base...)
		}
		dst = append(dst, base...)
		return append(dst, strings.TrimPrefix(rest, "/")...)
	}
	dst = append(dst, base...)
	if rest == "" {
		if len(path) > 1 && strings.HasSuffix(path, "/") {
			dst = append(dst, '/')
		}
		return dst
	}
	if rest[0] != '/' {
		dst = append(dst, '/')
	}
	return append(dst, rest...)
}

// joinWhole appends the whole path to base.
func joinWhole(dst []byte, base, path string) []byte {
	dst = append(dst, base...)
	if strings.HasSuffix(base, "/") {
		return append(dst, path[1:]...)
	}
	if path != "/" {
		dst = append(dst, path...)
	}
	return dst
}
