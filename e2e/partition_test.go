package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/natstest"
)

// A node that NATS does not reach serves on: it sees writes by the database within a poll, holds up the activation of
// a key that it cannot have, and has it as soon as NATS is back.
func TestNodePartitionedFromNATS(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	wires := []*harness.Wire{harness.NewWire(t, server.Address), harness.NewWire(t, server.Address)}
	n := newNodes(t, 2, func(i int) []string { return []string{"--nats-url", "nats://" + wires[i].Address} })
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	first := n.agree(1)
	here, away := n.all[0], n.all[1]
	here.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	n.credential(here, "before-the-partition")

	wires[1].Cut()
	partitioned := time.Now()
	n.reads(n.credential(here, "written-here"), n.credential(away, "written-away"))
	made := here.Admin().Do(201, http.MethodPost, "/keyring/generate?reveal=0", nil)
	id, _ := made["id"].(string)
	if made["key"] != nil || id == "" {
		t.Fatalf("generated without reveal: %v", made)
	}
	harness.Eventually(t, "the partitioned node saying that the key is missing", func() string {
		if ids, active, state := ring(t, away); slices.Contains(ids, id) || active != first || state != "incomplete" {
			return fmt.Sprintf("it holds %v, active %q, is %s", ids, active, state)
		}
		return ""
	})
	answer, err := harness.Do(http.MethodPost, here.Admin().URL("/keyring/activate"), url.Values{"key": {id}}.Encode(),
		"Content-Type", "application/x-www-form-urlencoded")
	if err != nil || answer.Status != 503 || !strings.Contains(answer.Body, "force") || !strings.Contains(answer.Body, away.Name) {
		t.Errorf("activating a key that a live node lacks: %d %s %v; want 503 naming %s and force", answer.Status, answer.Body, err, away.Name)
	}
	if _, active, _ := ring(t, here); active != first {
		t.Errorf("after the refusal %s is active, want %s", active, first)
	}
	// For a minute as operators know it: leases are renewed, writes go on, nobody is declared dead.
	for round := 0; time.Since(partitioned) < time.Minute; round++ {
		n.reads(n.credential(n.all[round%2], fmt.Sprintf("round-%d", round)))
		time.Sleep(5 * time.Second)
	}
	for _, cp := range n.all {
		page := cp.Admin().Do(200, http.MethodGet, "/clustering/control-planes", nil)
		live := 0
		for _, member := range page["data"].([]any) {
			if member.(harness.Document)["live"] == true {
				live++
			}
		}
		if live != 2 {
			t.Errorf("%s sees %d live nodes: %v", cp.Name, live, page)
		}
	}

	wires[1].Heal()
	n.agree(2)
	here.Admin().Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {id}})
	if active := n.agree(2); active != id {
		t.Errorf("%s is active, want %s", active, id)
	}
	n.reads(n.credential(away, "after-the-partition"))
}
