package apply

import (
	"encoding/binary"
	"errors"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
)

// The bytes of an entry in the local store, frozen by testdata/stored.golden: a byte that says which, then for
//
//	0  a published entry: its body
//	1  a kept one that this node never held: its body
//	2  a kept one: its body after its length as a varint, and the last form
const (
	storedPublished = 0
	storedLacking   = 1
	storedKept      = 2
)

var errStored = errors.New("its bytes are in no known form")

func appendStored(to []byte, e configset.Entry) []byte {
	switch {
	case !e.Kept:
		return append(append(to, storedPublished), e.Body...)
	case e.Last == nil:
		return append(append(to, storedLacking), e.Body...)
	}
	to = binary.AppendUvarint(append(to, storedKept), uint64(len(e.Body)))
	return append(append(to, e.Body...), e.Last...)
}

// readStored is the inverse of appendStored; the entry shares the bytes.
func readStored(stored localstore.Entry) (configset.Entry, error) {
	e := configset.Entry{Kind: stored.Kind, ID: stored.ID}
	if len(stored.Bytes) == 0 {
		return e, errStored
	}
	form, rest := stored.Bytes[0], stored.Bytes[1:]
	switch form {
	case storedPublished:
		e.Body = rest
	case storedLacking:
		e.Kept, e.Body = true, rest
	case storedKept:
		size, n := binary.Uvarint(rest)
		if n <= 0 || size > uint64(len(rest)-n) {
			return e, errStored
		}
		e.Kept, e.Body, e.Last = true, rest[n:n+int(size):n+int(size)], rest[n+int(size):]
	default:
		return e, errStored
	}
	return e, nil
}
