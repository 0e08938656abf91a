package pgtls_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/harness"
)

// silence is how long the database answers nothing. It outlasts every time-out of the control plane's.
const silence = 60 * time.Second

// clients write through the Admin API, and ask a data plane all the while.
type clients struct {
	t     *testing.T
	stop  chan struct{}
	work  sync.WaitGroup
	calls atomic.Int64 // that the data plane has served

	mu        sync.Mutex
	committed map[string]bool // guarded by mu
	statuses  map[int]int     // guarded by mu
}

func serve(t *testing.T, cp *harness.ControlPlane, dp *harness.DataPlane) *clients {
	c := &clients{t: t, stop: make(chan struct{}), committed: map[string]bool{}, statuses: map[int]int{}}
	for writer := range 3 {
		c.work.Go(func() {
			for n := 0; !c.ended(); n++ {
				c.write(cp, fmt.Sprintf("user-%d-%d", writer, n))
			}
		})
	}
	c.work.Go(func() {
		for !c.ended() {
			if answer := dp.MustGet("/open"); answer.Status != 200 {
				t.Errorf("the data plane answers %d while the database is away", answer.Status)
			}
			c.calls.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	})
	return c
}

func (c *clients) ended() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

func (c *clients) write(cp *harness.ControlPlane, name string) {
	answer, err := cp.Admin().Try(http.MethodPost, "/consumers", harness.Document{"username": name})
	if err != nil {
		c.t.Errorf("writing %s: %v", name, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[answer.Status]++
	switch {
	case answer.Status == 201:
		c.committed[name] = true
	case answer.Status != 503 || !strings.Contains(string(answer.Body), `"message"`):
		c.t.Errorf("writing %s: %d %s", name, answer.Status, answer.Body)
	}
}

func (c *clients) count(status int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statuses[status]
}

// await waits until so many more writes were answered with a status.
func (c *clients) await(status, more int) {
	c.t.Helper()
	before := c.count(status)
	harness.Eventually(c.t, fmt.Sprintf("%d writes being answered with %d", more, status), func() string {
		if now := c.count(status); now < before+more {
			return fmt.Sprintf("%d were", now-before)
		}
		return ""
	})
}

// TestOutages restarts the database, silences it and kills it for good under the Admin API's writers, and a data plane's client.
func TestOutages(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	cluster := harness.New(t)
	flags := []string{"--database", "postgres"}
	for key, value := range p.lines() {
		flags = append(flags, "--"+strings.ReplaceAll(key, "_", "-"), value)
	}
	cp := cluster.ControlPlane("cp", append(flags, "--keyring-strategy", "cluster", "--nats-cluster-listen", "off")...)
	cp.Start()
	upstream := harness.NewUpstream(t)
	cp.Admin().Push(fmt.Sprintf("_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://%s\n  routes:\n  - name: open\n    paths: [/open]\n", upstream.Address()))
	dp := cluster.DataPlane("dp", cp)
	dp.Start()
	dp.Await(200, "/open")
	c := serve(t, cp, dp)
	c.await(201, 20)

	if err := p.primary.Pause(); err != nil {
		t.Fatal(err)
	}
	c.await(503, 5)
	if err := p.primary.Resume(); err != nil {
		t.Fatal(err)
	}
	c.await(201, 20)

	p.near.Cut()
	time.Sleep(silence)
	if n := c.count(503); n == 0 {
		t.Error("no write was refused while the database was silent")
	}
	p.near.Heal()
	c.await(201, 20)

	if err := p.primary.Kill(); err != nil {
		t.Fatal(err)
	}
	c.await(503, 5)
	p.promote(t)
	c.await(201, 20)
	calls := c.calls.Load()
	close(c.stop)
	c.work.Wait()
	p.compare(t, c)
	t.Logf("answers by status: %v; the data plane served %d calls", c.statuses, calls)

	status := cp.Admin().Do(200, http.MethodGet, "/status", nil)
	if database := status["database"].(map[string]any); database["reachable"] != true || fmt.Sprint(database["warnings"]) != "[]" {
		t.Errorf("GET /status says %v of the database", database)
	}
	cluster.NoSecretInLogs("correct ' horse", string(must(os.ReadFile(p.tree.path("client.key")))))
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// compare holds what clients were told to what the new primary has.
func (p *pair) compare(t *testing.T, c *clients) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.standby.DSN(p.database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT username FROM consumers")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, name := range names {
		found[name]++
	}
	for name := range c.committed {
		if found[name] != 1 {
			t.Errorf("%s was acknowledged, and is there %d times", name, found[name])
		}
	}
	if unsure := len(names) - len(c.committed); unsure > c.statuses[503] {
		t.Errorf("%d rows of %d acknowledged writes and %d refused ones", len(names), len(c.committed), c.statuses[503])
	}
}
