package kms

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/shared/kmsclient"
)

const (
	wrappedVersion = 1
	maxWrapped     = 128 << 10 // more than the protocols allow
)

var errForm = errors.New("the row holds no material that a KMS plugin has wrapped")

// wrapped is what a row keeps. Frozen by testdata/wrapped.golden: the byte 0x01, and then, each after its length as
// 4 bytes, big-endian: the version of the API, the provider's name, key_id, ciphertext, and the name and value of
// each annotation in the order of names. No two texts stand for the same.
type wrapped struct {
	api      string // "v2" or "v1"
	provider string
	kmsclient.Wrapped
}

func (w wrapped) encode() []byte {
	text := []byte{wrappedVersion}
	for _, field := range []string{w.api, w.provider, w.KeyID, string(w.Ciphertext)} {
		text = appendField(text, field)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Annotations)) {
		text = appendField(appendField(text, name), string(w.Annotations[name]))
	}
	return text
}

func appendField(text []byte, field string) []byte {
	return append(binary.BigEndian.AppendUint32(text, uint32(len(field))), field...)
}

func parse(text []byte) (w wrapped, err error) {
	if len(text) == 0 || text[0] != wrappedVersion || len(text) > maxWrapped {
		return w, errForm
	}
	text = text[1:]
	var fields []string
	for len(text) > 0 {
		if len(text) < 4 || uint64(binary.BigEndian.Uint32(text)) > uint64(len(text)-4) {
			return w, errForm
		}
		end := 4 + int(binary.BigEndian.Uint32(text))
		fields, text = append(fields, string(text[4:end])), text[end:]
	}
	if len(fields) < 4 || len(fields)%2 != 0 {
		return w, errForm
	}
	w = wrapped{api: fields[0], provider: fields[1], Wrapped: kmsclient.Wrapped{KeyID: fields[2], Ciphertext: []byte(fields[3])}}
	for i := 4; i < len(fields); i += 2 {
		if i > 4 && fields[i] <= fields[i-2] {
			return w, errForm
		}
		if w.Annotations == nil {
			w.Annotations = map[string][]byte{}
		}
		w.Annotations[fields[i]] = []byte(fields[i+1])
	}
	return w, nil
}
