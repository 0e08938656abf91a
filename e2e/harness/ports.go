package harness

import (
	"fmt"

	"github.com/keepgate/keepgate/e2e/ports"
)

// FreePort returns a loopback port that nobody else listens on or is given, until this process ends.
func FreePort(t T) int {
	t.Helper()
	port, err := ports.Claim()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return port
}

// FreeAddress is [FreePort] with the loopback address before it.
func FreeAddress(t T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", FreePort(t))
}
