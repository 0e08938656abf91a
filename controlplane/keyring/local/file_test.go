package local

import (
	"bytes"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
)

func FuzzParseFile(f *testing.F) {
	f.Add(formatFile(secret.Take(make([]byte, 32))))
	f.Add([]byte("keepgate key file 1\r\nAAAA\r\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseFile(bytes.Clone(text))
		if err != nil {
			return
		}
		again, err := parseFile(formatFile(key))
		if err != nil || !again.Equal(key) {
			t.Fatalf("a key that was read is not written the same: %v", err)
		}
	})
}
