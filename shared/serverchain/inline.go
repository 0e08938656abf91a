package serverchain

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// InlinePEM is the PEM that a text is, as it is or in base64; nil for a path.
func InlinePEM(text string) []byte {
	const begin = "-----BEGIN "
	if strings.Contains(text, begin) {
		return []byte(text)
	}
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && bytes.Contains(decoded, []byte(begin)) {
		return decoded
	}
	return nil
}
