package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails when the tests leave a goroutine of the data plane behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := leaked()
	for start := time.Now(); len(left) > 0 && time.Since(start) < 5*time.Second; left = leaked() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines left:\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leaked returns the stacks of the goroutines that run code of the data plane, but for this one.
func leaked() (stacks []string) {
	buffer := make([]byte, 4<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		if strings.Contains(stack, "/dataplane/") && !strings.Contains(stack, "proxy_test.TestMain") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
