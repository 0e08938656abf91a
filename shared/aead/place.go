package aead

import "encoding/binary"

// Place is where a stored value lives: which field of which row. A value sealed for one place does not
// open at another.
type Place struct {
	Workspace string // id; "" for tables that have none
	Table     string
	Row       string // id
	Field     string // schema path: "key", "config.redis.password"
}

// subject names the place in a fault.
func (p Place) subject() string { return p.Table + "/" + p.Row + "/" + p.Field }

// Associated joins a label, which says what is being sealed, and the parts that bind it. Each is
// preceded by its length as 4 bytes, big-endian: joined with "/", the parts "a/b", "c" would pass for
// "a", "b/c".
func Associated(label string, parts ...string) []byte {
	size := 4 + len(label)
	for _, part := range parts {
		size += 4 + len(part)
	}
	return appendAssociated(make([]byte, 0, size), label, parts...)
}

func appendAssociated(dst []byte, label string, parts ...string) []byte {
	dst = appendPart(dst, label)
	for _, part := range parts {
		dst = appendPart(dst, part)
	}
	return dst
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}
