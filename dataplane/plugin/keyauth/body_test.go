package keyauth

import (
	"strings"
	"testing"
)

// A body of many tiny parts costs no more than a few, and is refused.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	part := "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"
	if parts, err := readParts([]byte(strings.Repeat(part, maxParts)+"--b--\r\n"), "b"); err != nil || len(parts) != maxParts {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	if _, err := readParts([]byte(strings.Repeat(part, maxParts+1)+"--b--\r\n"), "b"); err == nil {
		t.Error("one part more was taken")
	}
}
