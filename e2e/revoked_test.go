package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/natstest"
)

// Whoever is revoked at one node is cut off by all of them, also by one that NATS does not reach, and erases what it
// holds: at once when it is linked, else when it comes again. What it kept by itself does not bring it back.
func TestRevokedDataPlanes(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	wires := []*harness.Wire{harness.NewWire(t, server.Address), harness.NewWire(t, server.Address), harness.NewWire(t, server.Address)}
	n := newNodes(t, 3, func(i int) []string {
		return []string{"--nats-url", "nats://" + wires[i].Address, "--db-update-frequency", "5s"}
	})
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	n.agree(1)
	upstream := harness.NewUpstream(t)
	first := n.all[0]
	first.Admin().Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	first.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	n.Found(first)
	var edges []*harness.DataPlane
	for i, cp := range n.all {
		harness.Eventually(t, "an invitation at "+cp.Name, func() string {
			if _, err := n.TryCP("fleet", "invite", "--environment", "default", "--admin-url", "http://"+cp.Listen); err != nil {
				return err.Error()
			}
			return ""
		})
		edges = append(edges, n.Joined(fmt.Sprint("edge-", i), "default", cp))
	}
	good, asleep := n.Joined("good", "default", n.all...), n.Joined("asleep", "default", n.all...)
	for _, dp := range append(edges, good, asleep) {
		dp.Start()
		dp.Await(200, "/r")
	}
	asleep.Stop()
	wires[2].Cut()
	for i, name := range []string{"edge-0", "edge-1", "edge-2", "asleep"} {
		output, err := n.TryCP("fleet", "revoke", name, "--environment", "default", "--reason", "stolen", "--admin-url", "http://"+n.all[i%2].Listen)
		if err != nil {
			t.Fatalf("revoking %s: %v\n%s", name, err, output)
		}
	}
	revoked := time.Now()
	for _, dp := range edges {
		dp.Await(503, "/r")
		t.Logf("%s stopped serving %v after the last revocation", dp.Name, time.Since(revoked).Round(time.Millisecond))
	}
	asleep.Launch()
	asleep.Await(503, "/r")
	gone := func(dp *harness.DataPlane) {
		t.Helper()
		harness.Eventually(t, "the store of "+dp.Name+" being gone", func() string {
			entries, err := os.ReadDir(dp.Store())
			if err != nil && !os.IsNotExist(err) {
				return err.Error()
			}
			for _, entry := range entries {
				if info, err := entry.Info(); err == nil && info.Size() > 0 && filepath.Ext(entry.Name()) != ".lock" && entry.Name() != ".lock" {
					return fmt.Sprintf("%s of %d bytes", entry.Name(), info.Size())
				}
			}
			return ""
		})
	}
	for _, dp := range append(edges, asleep) {
		gone(dp)
		dp.Kill()
		dp.Launch()
		dp.Await(503, "/r")
	}
	if answer := good.MustGet("/r"); answer.Status != 200 {
		t.Errorf("a data plane that was not revoked answers %d", answer.Status)
	}
	first.Admin().Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r2", "paths": []string{"/r2"}})
	good.Await(200, "/r2")
	wires[2].Heal()

	// A new invitation is a new beginning.
	if output, err := n.TryDP("join", "--prefix", edges[0].Prefix, "--control-plane", first.Cluster, "--again",
		"--token", n.Invite(first, "default", "--name", "edge-0")); err != nil {
		t.Fatalf("joining again: %v\n%s", err, output)
	}
	edges[0].Stop()
	edges[0].Launch()
	edges[0].Await(200, "/r2")
}
