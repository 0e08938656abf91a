package ports_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/ports"
)

func TestClaimsAreApart(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for range 50 {
		port, err := ports.Claim()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port >= 32768 {
			t.Fatalf("port %d, after %v", port, seen)
		}
		seen[port] = true
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("a claimed port cannot be used: %v", err)
		}
		_ = listener.Close()
	}
}

// Another process does not get what this one has claimed, though nobody listens there.
func TestClaimsHoldBetweenProcesses(t *testing.T) {
	t.Parallel()
	const asked = "KEEPGATE_TEST_CLAIM"
	if port := os.Getenv(asked); port != "" {
		_, err := net.Listen("unix", "@keepgate-port-"+port)
		fmt.Printf("claimed: %v\n", err == nil)
		return
	}
	port, err := ports.Claim()
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[int]string{port: "claimed: false", 1: "claimed: true"} {
		command := exec.Command(os.Args[0], "-test.run=^TestClaimsHoldBetweenProcesses$")
		command.Env = append(os.Environ(), fmt.Sprintf("%s=%d", asked, number))
		if output, err := command.CombinedOutput(); err != nil || !strings.Contains(string(output), want) {
			t.Errorf("another process asking for %d: %s, %v, want %s", number, output, err, want)
		}
	}
}
