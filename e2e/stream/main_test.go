package stream_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain finds what still runs once every control plane and data plane has stopped.
func TestMain(m *testing.M) {
	code := m.Run()
	left := leaks()
	for end := time.Now().Add(time.Minute); len(left) > 0 && time.Now().Before(end); left = leaks() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 && code == 0 {
		fmt.Printf("%d goroutines were left behind:\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leaks returns the stacks of goroutines, other than this one, that our packages or gRPC run.
func leaks() (left []string) {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for i, stack := range strings.Split(string(stacks), "\n\n") {
		if i > 0 && (strings.Contains(stack, "keepgate/keepgate/") || strings.Contains(stack, "google.golang.org/grpc")) {
			left = append(left, stack)
		}
	}
	return left
}
