package kmsv1

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/keepgate/keepgate/shared/kmsclient"
)

const (
	maxWrapped = kmsclient.MaxCipherV1 // what the length can say
	overhead   = 12 + 16               // nonce and tag of aead.BoxGCM
)

var errText = errors.New("not of the form k8s:enc:kms:v1:<name>:<base64>")

func format(prefix string, wrapped, sealed []byte) string {
	raw := make([]byte, 0, 2+len(wrapped)+len(sealed))
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(wrapped)))
	raw = append(append(raw, wrapped...), sealed...)
	text := make([]byte, 0, len(prefix)+base64.StdEncoding.EncodedLen(len(raw)))
	return string(base64.StdEncoding.AppendEncode(append(text, prefix...), raw))
}

// parse reads what format wrote, and nothing else.
func parse(prefix, text string) (wrapped, sealed []byte, err error) {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || strings.ContainsAny(body, "\r\n") { // which encoding/base64 skips
		return nil, nil, errText
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || len(raw) < 2 { // the error would tell a place in the text, which helps nobody
		return nil, nil, errText
	}
	length := int(binary.BigEndian.Uint16(raw))
	if length == 0 || len(raw)-2-length < overhead {
		return nil, nil, errText
	}
	return raw[2 : 2+length], raw[2+length:], nil
}
