package e2e_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// verified asks nodes whether the journal is as it was written.
func (n *nodes) verified(asked ...*harness.ControlPlane) (output string, err error) {
	n.t.Helper()
	arguments := []string{"audit", "verify", "--ca", n.Cert("ca.crt"), "--crl", n.Cert("crl.pem")}
	for _, cp := range asked {
		arguments = append(arguments, "--admin", "http://"+cp.Listen)
	}
	return n.TryCP(arguments...)
}

// holding waits until a node holds signed heads of the journals of so many nodes, as new as the database.
func (n *nodes) holding(at *harness.ControlPlane, count int) {
	n.t.Helper()
	harness.Eventually(n.t, fmt.Sprintf("%s holding the newest heads of %d nodes", at.Name, count), func() string {
		listing := at.Admin().Do(200, http.MethodGet, "/audit/heads", nil)
		held := map[any]any{}
		for _, head := range listing["data"].([]any) {
			if head := head.(map[string]any); head["proof"] != nil {
				held[head["node"]] = head["sequence"]
			}
		}
		chains := listing["chains"].([]any)
		for _, chain := range chains {
			if end := chain.(map[string]any); held[end["node"]] != end["sequence"] {
				return fmt.Sprintf("of node %v it holds %v, the database %v", end["node"], held[end["node"]], end["sequence"])
			}
		}
		if len(chains) != count {
			return fmt.Sprintf("%d nodes have a journal", len(chains))
		}
		return ""
	})
}

// What is done to the journal in the database of three nodes is found with what the other nodes hold, also after
// each of them was killed.
func TestJournalOfThreeNodes(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 3, func(int) []string { return nil })
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	n.agree(1)
	for i, cp := range n.all {
		cp.Admin().Do(201, http.MethodPost, "/services", harness.Document{"name": fmt.Sprint("service-", i), "host": "example.com"})
	}
	victim := n.all[0]
	victim.Kill()
	victim.Start()
	n.agree(1)
	victim.Admin().Do(201, http.MethodPost, "/services", harness.Document{"name": "service-after", "host": "example.com"})
	for _, cp := range n.all {
		n.holding(cp, 3)
	}
	if output, err := n.verified(n.all...); err != nil || strings.Contains(output, "not signed") {
		t.Fatalf("a journal that nobody touched: %v\n%s", err, output)
	}
	db, err := sql.Open(n.db.open(victim))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	node := victim.Admin().Do(200, http.MethodGet, "/audit/heads", nil)["node"].(string)
	const ofVictim = " WHERE node = $1 AND sequence = (SELECT max(sequence) FROM audit_entries WHERE node = $1)"
	for _, step := range []struct{ statement, found string }{
		{"UPDATE audit_entries SET body = replace(body, 'service', 'SERVICE')" + ofVictim, "edited  node " + node},
		{"DELETE FROM audit_entries" + ofVictim, "missing  node " + node},
		{"DELETE FROM audit_entries WHERE node = $1", "missing  node " + node}, // the node may have noticed by now, and written on
	} {
		if _, err := db.ExecContext(t.Context(), step.statement, node); err != nil {
			t.Fatal(err)
		}
		output, err := n.verified(n.all[1])
		if err == nil || !strings.Contains(output, step.found) {
			t.Errorf("after %s: %v, without %q in\n%s", step.statement, err, step.found, output)
		}
	}
}
