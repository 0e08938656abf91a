package e2e_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/natstest"
)

// nodes are the control plane nodes of one database.
type nodes struct {
	*harness.Cluster
	t        *testing.T
	db       database
	all      []*harness.ControlPlane
	recovery string // the private key's file
	material []string
	canaries []string
	creds    string // the path of credentials
}

// newNodes makes nodes and starts none. extra are flags of one node.
func newNodes(t *testing.T, count int, extra func(i int) []string) *nodes {
	t.Helper()
	private, public := recoveryPair(t)
	n := &nodes{Cluster: harness.New(t), t: t, db: postgresDatabase(t), recovery: private, creds: "/consumers/bob/key-auth"}
	for i := range count {
		flags := append(slices.Clone(n.db.flags), "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)
		n.all = append(n.all, n.Node(fmt.Sprintf("cp-%d", i), append(flags, extra(i)...)...))
	}
	return n
}

// ring is what a node says of its keyring.
func ring(t *testing.T, cp *harness.ControlPlane) (ids []string, active, state string) {
	t.Helper()
	listing := cp.Admin().Do(200, http.MethodGet, "/keyring", nil)
	for _, id := range listing["ids"].([]any) {
		ids = append(ids, id.(string))
	}
	active, _ = listing["active"].(string)
	state, _ = listing["state"].(string)
	return ids, active, state
}

// agree waits until every node holds so many keys, and all the same one is active.
func (n *nodes) agree(count int) (active string) {
	n.t.Helper()
	harness.Eventually(n.t, fmt.Sprintf("every node holding %d keys", count), func() string {
		active = ""
		time.Sleep(100 * time.Millisecond) // logs are read by people
		for _, cp := range n.all {
			ids, at, state := ring(n.t, cp)
			if len(ids) != count || state != "ready" || at == "" || active != "" && at != active {
				return fmt.Sprintf("%s holds %v, active %q, is %s", cp.Name, ids, at, state)
			}
			active = at
		}
		return ""
	})
	return active
}

// credential makes a key-auth credential with a canary and returns it.
func (n *nodes) credential(at *harness.ControlPlane, name string) string {
	n.t.Helper()
	key := "canary-key-of-" + name
	at.Admin().Do(201, http.MethodPost, n.creds, harness.Document{"key": key})
	n.canaries = append(n.canaries, key)
	return key
}

// reads finds every credential on every node.
func (n *nodes) reads(keys ...string) {
	n.t.Helper()
	for _, cp := range n.all {
		for _, key := range keys {
			harness.Eventually(n.t, key+" being readable at "+cp.Name, func() string {
				answer, err := cp.Admin().Try(http.MethodGet, n.creds+"/"+key, nil)
				if err != nil || answer.Status != 200 {
					return fmt.Sprintf("%d %s %v", answer.Status, answer.Body, err)
				}
				return ""
			})
		}
	}
}

// rotate makes a key at one node and activates it at another.
func (n *nodes) rotate(made, activated *harness.ControlPlane, keys int) (id string) {
	n.t.Helper()
	answer := made.Admin().Do(201, http.MethodPost, "/keyring/generate", nil)
	id, _ = answer["id"].(string)
	raw, err := base64.StdEncoding.DecodeString(answer["key"].(string))
	if err != nil {
		n.t.Fatal(err)
	}
	n.material = append(n.material, string(raw))
	harness.Eventually(n.t, "key "+id+" being known at "+activated.Name, func() string {
		ids, _, _ := ring(n.t, activated)
		if !slices.Contains(ids, id) {
			return fmt.Sprintf("it holds %v", ids)
		}
		return ""
	})
	activated.Admin().Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {id}})
	if active := n.agree(keys); active != id {
		n.t.Errorf("%s is active, want %s", active, id)
	}
	return id
}

// Three nodes that start at the same instant on an empty database make one key, share every later one, lose nothing
// that was acknowledged while each of them is killed, and come back by one recovery after all were killed. What NATS
// carries and what the database holds gives no key and no secret.
func TestNodesShareOneKeyring(t *testing.T) {
	t.Parallel()
	for name, external := range map[string]bool{"embedded NATS": false, "external NATS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			extra, tap := func(int) []string { return nil }, (*natstest.Tap)(nil)
			if external {
				server := natstest.Start(t)
				tap = server.Tap()
				extra = func(int) []string { return []string{"--nats-url", "nats://" + server.Address} }
			}
			n := newNodes(t, 3, extra)
			n.shareOneKeyring()
			n.gaveAway(tap)
		})
	}
}

func (n *nodes) shareOneKeyring() {
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
	}
	n.agree(1)
	if made := n.db.column(n.t, n.all[0], "select id from keyring_keys"); len(made) != 1 {
		n.t.Fatalf("%d keys were made: %v", len(made), made)
	}
	upstream := harness.NewUpstream(n.t)
	n.all[0].Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: '%s', routes: [{name: r, paths: [/keyed]}], "+
		"plugins: [{name: key-auth}]}\nconsumers: [{username: bob}]\n", upstream.URL))
	dp := n.Edge("edge-1", n.all...)
	dp.Launch()
	for i, cp := range n.all {
		key := n.credential(cp, fmt.Sprintf("the-first-at-%d", i))
		began := time.Now()
		dp.Await(200, "/keyed", "apikey", key)
		n.t.Logf("a write at %s guarded requests after %v", cp.Name, time.Since(began))
	}
	n.reads(n.canaries...)
	newer := n.rotate(n.all[0], n.all[1], 2)
	n.credential(n.all[2], "the-new-key")
	if sealed := n.db.column(n.t, n.all[0], "select key from keyauth_credentials where key like '$ke$1$-"+newer+"-%'"); len(sealed) != 1 {
		n.t.Errorf("%d rows are sealed under the new key, want 1", len(sealed))
	}
	n.killedInTurn(dp)
	n.allKilled(dp)
}

// killedInTurn kills each node while the others are written to.
func (n *nodes) killedInTurn(dp *harness.DataPlane) {
	n.t.Helper()
	for i, victim := range n.all {
		var writing sync.WaitGroup
		var acknowledged []string
		stop := make(chan struct{})
		writing.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("canary-key-of-kill-%d-%d", i, round)
				at := n.all[round%len(n.all)]
				answer, err := at.Admin().Try(http.MethodPost, n.creds, harness.Document{"key": key})
				if err == nil && answer.Status == 201 {
					acknowledged = append(acknowledged, key)
				} else if err == nil && (at != victim || answer.Status != 503) { // which has just started may lack its keys still
					n.t.Errorf("a write while %s was killed: %d %s", victim.Name, answer.Status, answer.Body)
				}
			}
		})
		time.Sleep(300 * time.Millisecond) // writes go on meanwhile
		victim.Kill()
		time.Sleep(300 * time.Millisecond)
		victim.Start()
		n.agree(2)
		close(stop)
		writing.Wait()
		if len(acknowledged) == 0 {
			n.t.Fatalf("nothing was written while %s was killed", victim.Name)
		}
		n.t.Logf("%d writes were acknowledged around the end of %s", len(acknowledged), victim.Name)
		n.reads(acknowledged[0], acknowledged[len(acknowledged)-1])
		for _, key := range acknowledged {
			dp.Await(200, "/keyed", "apikey", key)
		}
		n.canaries = append(n.canaries, acknowledged...)
	}
}

// allKilled loses what every memory held, and brings it back at one node.
func (n *nodes) allKilled(dp *harness.DataPlane) {
	n.t.Helper()
	for _, cp := range n.all {
		cp.Kill()
	}
	for _, cp := range n.all {
		cp.Launch()
	}
	for _, cp := range n.all {
		cp.AwaitReady()
		ids, active, state := ring(n.t, cp)
		if len(ids) != 0 || active != "" || state != "missing" {
			n.t.Errorf("%s holds %v, active %q, is %s after all were killed", cp.Name, ids, active, state)
		}
		answer, err := cp.Admin().Try(http.MethodGet, n.creds+"/"+n.canaries[0], nil)
		if err != nil || answer.Status != 503 {
			n.t.Errorf("reading a secret without keys: %d %s %v", answer.Status, answer.Body, err)
		}
		n.all[0].Admin().Do(200, http.MethodGet, "/consumers/bob", nil)
	}
	dp.Await(200, "/keyed", "apikey", n.canaries[0])
	recovered := curl(n.t, n.all[1], "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+n.recovery)
	if ids, _ := recovered["recovered"].([]any); len(ids) != 2 || len(recovered["not_recovered"].([]any)) != 0 {
		n.t.Errorf("recovered %v", recovered)
	}
	n.agree(2)
	n.reads(n.canaries[0], n.canaries[len(n.canaries)-1])
	dp.Await(200, "/keyed", "apikey", n.credential(n.all[2], "after-the-recovery"))
}

// gaveAway searches for key material and secrets in the database's files, in the logs and in what NATS carried.
func (n *nodes) gaveAway(tap *natstest.Tap) {
	n.t.Helper()
	secrets := append(slices.Clone(n.material), n.canaries[:4]...)
	n.db.flush(n.t)
	nowhere(n.t, n.db.files(n.all[0]), secrets...)
	n.NoSecretInLogs(secrets...)
	if tap == nil {
		return
	}
	messages := tap.Messages()
	if len(messages) < 10 {
		n.t.Errorf("NATS carried %d messages: the tap is not where the nodes speak", len(messages))
	}
	for _, secret := range secrets {
		for form, trace := range harness.Traces(secret) {
			for _, message := range messages {
				if strings.Contains(string(message.Data), string(trace)) {
					n.t.Errorf("a message on %s holds a secret as %s", message.Subject, form)
				}
			}
		}
	}
}
