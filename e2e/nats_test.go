package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/natstest"
)

// replace writes a file as a whole, as those do who replace one that is in use.
func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Nodes log in to an external NATS with credentials. One whose user is revoked says so, and what to do, and comes back with
// new credentials without a restart; doctor names the same fault.
func TestNodesLogInWithCredentials(t *testing.T) {
	t.Parallel()
	server := natstest.StartOperator(t)
	folder := t.TempDir()
	var users []natstest.User
	creds := func(i int) string { return filepath.Join(folder, fmt.Sprintf("cp-%d.creds", i)) }
	n := newNodes(t, 2, func(i int) []string {
		users = append(users, server.User(nil))
		replace(t, creds(i), users[i].Creds)
		return []string{"--nats-url", "nats://" + server.Address, "--nats-credentials-file", creds(i)}
	})
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	n.agree(1)
	n.rotate(n.all[0], n.all[1], 2)
	doctor := func(step string) string {
		report, _ := n.all[1].Command("doctor") // something is wrong on purpose
		for line := range strings.Lines(report) {
			if strings.Contains(line, step) {
				return line + report[strings.Index(report, line)+len(line):]
			}
		}
		return "nothing of " + step + " in " + report
	}
	if text := doctor("credentials"); !strings.Contains(text, users[1].ID) {
		t.Errorf("doctor says %s", text)
	}

	server.Revoke(users[1])
	n.all[1].AwaitLog("no connection to NATS", "nats_credentials_file: ", "revoked", "nsc generate creds")
	if text := doctor("login"); !strings.Contains(text, "does not let user "+users[1].ID+" in: it was revoked") || !strings.Contains(text, "nsc generate creds") {
		t.Errorf("doctor says %s", text)
	}
	next := server.User(nil)
	replace(t, creds(1), []byte(strings.Replace(string(next.Creds), next.Seed, users[0].Seed, 1)))
	n.all[1].AwaitLog("nats_credentials_file: "+creds(1), "and the seed of another, "+users[0].ID)
	if text := doctor("credentials"); !strings.Contains(text, "the seed of another, "+users[0].ID) {
		t.Errorf("doctor says %s", text)
	}
	replace(t, creds(1), next.Creds)
	n.rotate(n.all[0], n.all[1], 3)
	n.NoSecretInLogs(users[0].Seed, users[1].Seed, next.Seed)
}

// Nodes find each other over IPv6, by their leases and by routes that are set, and share one keyring.
func TestNodesFindEachOtherOverIPv6(t *testing.T) {
	t.Parallel()
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("this machine has no IPv6 loopback address, which this test is about (sysctl net.ipv6.conf.lo.disable_ipv6=0): %v", err)
	}
	_ = probe.Close() // opened for nothing but this
	for name, set := range map[string]bool{"by leases": false, "by routes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addresses := make([]string, 2)
			for i := range addresses {
				addresses[i] = fmt.Sprintf("[::1]:%d", harness.FreePort(t))
			}
			n := newNodes(t, len(addresses), func(i int) []string {
				flags := []string{"--nats-cluster-listen", addresses[i], "--nats-cluster-advertise", addresses[i]}
				if set {
					flags = append(flags, "--nats-cluster-routes", strings.Join(addresses, ","))
				}
				return flags
			})
			for _, cp := range n.all {
				cp.Launch()
			}
			for _, cp := range n.all {
				cp.AwaitReady()
			}
			n.agree(1)
			n.rotate(n.all[0], n.all[1], 2)
			for _, cp := range n.all {
				harness.Eventually(t, cp.Name+" being linked", func() string {
					state, _ := cp.Admin().Do(200, http.MethodGet, "/clustering/control-planes", nil)["nats"].(map[string]any)
					if links, _ := state["routes"].(float64); links != 1 {
						return fmt.Sprint(state)
					}
					return ""
				})
			}
			report, err := n.all[0].Command("doctor")
			if route := "NATS route " + addresses[1]; !strings.Contains(report, route) {
				t.Errorf("doctor does not speak of %s: %s %v", route, report, err)
			}
		})
	}
}
