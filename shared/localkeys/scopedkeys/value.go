package scopedkeys

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/shared/secret"
)

// The beginnings of wrapped keys.
const (
	KMSPrefix   = "kms:v2:"
	VaultPrefix = "vault:v"
)

const maxText = 64 << 10

// Value is a key as it is written.
type Value struct {
	Plain   secret.Bytes // the key itself; none where it is wrapped
	Wrapped string       // what an Opener opens; not secret
	Doubt   string       // what strict reading refuses it for; "" for nothing
}

// ParseValue reads a value. The error shows nothing of it.
func ParseValue(text string) (Value, error) {
	switch {
	case text == "":
		return Value{}, errors.New("it is empty")
	case len(text) > maxText:
		return Value{}, errors.New("it is far too long")
	case strings.HasPrefix(text, KMSPrefix):
		return wrapped(text, text[len(KMSPrefix):])
	case strings.HasPrefix(text, VaultPrefix):
		number, body, found := strings.Cut(text[len(VaultPrefix):], ":")
		if !found || number == "" || strings.Trim(number, "0123456789") != "" {
			return Value{}, errors.New("it is no ciphertext of Vault's transit engine: these are vault:v1:<base64>")
		}
		return wrapped(text, body)
	case strings.HasPrefix(text, "kms:") || strings.HasPrefix(text, "{"):
		return Value{}, fmt.Errorf("wrapped keys are written %s<base64> or %s1:<base64>", KMSPrefix, VaultPrefix)
	}
	if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return Value{}, errNoBase64
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Value{}, errNoBase64
	}
	if n := len(data); n != 16 && n != 24 && n != 32 {
		clear(data)
		return Value{}, fmt.Errorf("the key has %d bytes, want 16, 24 or 32 (make one with: keepgate-dp keys generate)", n)
	}
	return Value{Plain: secret.Take(data), Doubt: doubt(text, data)}, nil
}

var errNoBase64 = errors.New("it is not base64 (RFC 4648 §4, with its padding) of 16, 24 or 32 bytes (make one with: keepgate-dp keys generate)")

func wrapped(text, body string) (Value, error) {
	if data, err := base64.StdEncoding.DecodeString(body); err != nil || len(data) == 0 || strings.ContainsAny(text, "\r\n") {
		return Value{}, errors.New("what follows the prefix is not base64")
	}
	return Value{Wrapped: text}, nil
}

// doubt says why a key of the right length is probably none.
func doubt(text string, data []byte) string {
	if base64.StdEncoding.EncodeToString(data) != text {
		return "no encoder writes base64 so (its last digit has bits that mean nothing): it was probably typed, or cut from something longer"
	}
	typed, same := true, true
	for _, b := range data {
		typed = typed && b >= ' ' && b <= '~'
		same = same && b == data[0]
	}
	switch {
	case typed:
		return "the key is typed text and no random bytes, so it can be guessed (make one with: keepgate-dp keys generate)"
	case same:
		return "the key is one byte over and over, so it can be guessed (make one with: keepgate-dp keys generate)"
	}
	return ""
}
