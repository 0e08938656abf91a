package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// mustNotStart starts a node that must not come up, and returns what it said.
func mustNotStart(t *testing.T, cp *harness.ControlPlane, says ...string) {
	t.Helper()
	cp.Launch()
	cp.AwaitEnd()
	for _, text := range says {
		if !strings.Contains(cp.Log(), text) {
			t.Errorf("%s ended without saying %q:\n%s", cp.Name, text, cp.Log())
		}
	}
}

// Nodes of one database agree on how its secrets are kept, or do not start and say how to agree.
func TestNodesThatDisagreeDoNotStart(t *testing.T) {
	t.Parallel()
	t.Run("a second node under strategy local", func(t *testing.T) {
		t.Parallel()
		c, db := harness.New(t), postgresDatabase(t)
		flags := append(db.flags, "--keyring-strategy", "local")
		first := c.Node("cp-0", flags...)
		first.Start()
		mustNotStart(t, c.Node("cp-1", flags...), "keyring_strategy", "cluster")
		first.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	})
	t.Run("another strategy, and none", func(t *testing.T) {
		t.Parallel()
		c, db := harness.New(t), postgresDatabase(t)
		first := c.Node("cp-0", append(db.flags, "--keyring-strategy", "cluster")...)
		first.Start()
		first.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
		first.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": keyCanary})
		mustNotStart(t, c.Node("cp-1", append(db.flags, "--keyring-strategy", "local")...), "keyring_strategy = cluster")
		mustNotStart(t, c.Node("cp-2", append(db.flags, "--keyring-enabled=off")...), "keyring_decrypt_all", "reencrypt")
	})
}

// Secrets are not decrypted beside a node that could not read them then.
func TestDecryptionNeedsEveryNode(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2, func(i int) []string {
		if i == 1 { // the other way round the node that cannot read plaintext would not start
			return []string{"--keyring-decrypt-all=on"}
		}
		return nil
	})
	for _, cp := range n.all {
		cp.Start()
	}
	n.agree(1)
	for i, to := range []string{"active", "plaintext"} {
		answer, err := n.all[i].Admin().Try(http.MethodPost, "/keyring/reencrypt", harness.Document{"to": to})
		if err != nil || answer.Status != 409 || !strings.Contains(answer.Body, "keyring_decrypt_all") || !strings.Contains(answer.Body, n.all[1-i].Name) {
			t.Errorf("re-encrypting to %s beside a node that does otherwise: %d %s %v", to, answer.Status, answer.Body, err)
		}
	}
}

// Nodes that do not reach each other say so, and where they looked.
func TestUnreachableNodesAreNamed(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2, func(i int) []string {
		return []string{"--nats-cluster-advertise", fmt.Sprintf("node-%d.invalid:8006", i)}
	})
	for _, cp := range n.all {
		cp.Start()
	}
	n.all[0].AwaitLog("nats_cluster_advertise", "node-1.invalid:8006")
	n.all[1].AwaitLog("nats_cluster_advertise", "node-0.invalid:8006")
}

// A reload neither drops a key nor fails a single read.
func TestReloadUnderLoadKeepsTheKeyring(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	_, public := recoveryPair(t)
	cp := c.ControlPlane("cp", append(postgresDatabase(t).flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)...)
	cp.Start()
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": keyCanary})

	stop := make(chan struct{})
	var reading sync.WaitGroup
	var problems []string
	reads := 0
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			answer, err := admin.Try(http.MethodGet, "/consumers/bob/key-auth/"+keyCanary, nil)
			if err != nil || answer.Status != 200 || !strings.Contains(answer.Body, keyCanary) {
				problems = append(problems, fmt.Sprintf("%d %v", answer.Status, err))
			}
			reads++
		}
	})
	for range 20 {
		before := len(cp.Log())
		if err := cp.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		cp.AwaitLogSince(before, "reloaded")
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	reading.Wait()
	if len(problems) > 0 || reads < 20 {
		t.Errorf("%d of %d reads failed around 20 reloads: %q", len(problems), reads, problems)
	}
}

// A rehearsal says what a recovery would bring, with the private key given to nobody.
func TestRehearsal(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	private, public := recoveryPair(t)
	stranger, _ := recoveryPair(t)
	cp := c.ControlPlane("cp", append(postgresDatabase(t).flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)...)
	cp.Start()
	_, active, _ := ring(t, cp)
	if said, err := cp.Command("keyring", "rehearse", "--key", private); err != nil || !strings.Contains(said, "would recover 1 keys: "+active+"; active would be "+active) {
		t.Errorf("rehearsing: %s, %v", said, err)
	}
	if said, err := cp.Command("keyring", "rehearse", "--key", stranger); err == nil || !strings.Contains(said+err.Error(), "another recovery key") {
		t.Errorf("rehearsing with a stranger's key: %s, %v", said, err)
	}
	cp.Stop()
	if said, err := cp.Command("keyring", "rehearse", "--key", private); err != nil || !strings.Contains(said, "would recover 1 keys") {
		t.Errorf("rehearsing beside no control plane: %s, %v", said, err)
	}
}
