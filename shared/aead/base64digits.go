package aead

import (
	"encoding/base64"
	"slices"
	"strings"
)

// With encoding/base64 the digits take longer than the cipher, as with hex (hexdigits.go). Where the processor can, 32 of
// them are read and written at once (base64digits_amd64.s); the ends of a text, its padding above all, are left to
// encoding/base64. The digits spell sealed bytes: what is looked up by them tells nobody anything.

// strictBase64 refuses bits beside those of a value.
var strictBase64 = base64.StdEncoding.Strict()

// blockBytes and blockDigits are a block; blockSlack is how far beyond one bytes are read, or written.
const (
	blockBytes  = 24
	blockDigits = 32
	blockSlack  = 4
)

// appendBase64 appends data in base64, standard and padded.
func appendBase64(dst, data []byte) []byte {
	dst = slices.Grow(dst, base64.StdEncoding.EncodedLen(len(data)))
	if blocks := (len(data) - blockSlack) / blockBytes; hasBlocks && blocks > 0 {
		start := len(dst)
		dst = dst[:start+blocks*blockDigits]
		encodeBlocks(dst[start:], data[:blocks*blockBytes+blockSlack])
		data = data[blocks*blockBytes:]
	}
	return base64.StdEncoding.AppendEncode(dst, data)
}

// appendDecodedBase64 appends what text stands for. Each value has exactly one text: no line breaks, which
// encoding/base64 skips, no other padding, and no bits beside those of the value.
func appendDecodedBase64(dst []byte, text string) (decoded []byte, ok bool) {
	dst = slices.Grow(dst, base64.StdEncoding.DecodedLen(len(text))+blockSlack)
	if blocks := (len(text) - 1) / blockDigits; hasBlocks && blocks > 0 { // the last digits may be padded
		start := len(dst)
		room := dst[start : start+blocks*blockBytes+blockSlack]
		if !decodeBlocks(room, text[:blocks*blockDigits]) {
			return dst, false
		}
		dst, text = dst[:start+blocks*blockBytes], text[blocks*blockDigits:]
	}
	if strings.IndexByte(text, '\n') >= 0 || strings.IndexByte(text, '\r') >= 0 {
		return dst, false
	}
	dst, err := strictBase64.AppendDecode(dst, []byte(text))
	return dst, err == nil
}
