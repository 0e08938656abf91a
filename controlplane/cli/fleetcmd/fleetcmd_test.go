package fleetcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/record"
)

// rows is a database of nobody: what is linked is shown.
type rows struct{}

func (rows) PutNode(context.Context, record.Node) error   { return nil }
func (rows) Nodes(context.Context) ([]record.Node, error) { return nil, nil }
func (rows) ForgetNodes(context.Context, int64) error     { return nil }

// keep is a control plane's fleet, shown by the real room of the Admin API.
type keep struct {
	t         *testing.T
	fleet     *fleet.Fleet
	url       string
	newest    atomic.Uint64 // version of prod
	published atomic.Uint64
	asked     atomic.Int64 // how often the list was asked for
}

const database = 9 // its revision

func newKeep(t *testing.T) *keep {
	t.Helper()
	k := &keep{t: t, fleet: fleet.New(rows{}, fleet.Options{})}
	k.newest.Store(7)
	k.published.Store(database)
	table := rest.NewTable()
	dataplanes.New(dataplanes.Deps{
		Fleet: k.fleet, Version: "1.2.0", PurgeDelay: time.Hour,
		Newest: func(environment string) (dataplanes.Position, bool) {
			return dataplanes.Position{Epoch: 1, Version: k.newest.Load(), Hash: "aa"}, environment == "prod"
		},
		Lag: func(_ string, held fleet.Held) (fleet.Lag, bool) {
			return fleet.Lag{Versions: k.newest.Load() - held.Version, Seconds: 90}, held.Version > 0
		},
		Enrolled: func(context.Context) (map[string]dataplanes.Enrolment, error) {
			return map[string]dataplanes.Enrolment{"prod/stolen": {RevokedAt: time.Now().Unix(), Reason: "lost\x1b[2J"}, "prod/edge-1": {JoinedAt: 1e9, RenewedAt: 1.1e9}}, nil
		},
		Head: func(context.Context) (uint64, error) { return database, nil }, Published: k.published.Load,
		Plugin: func(string) (string, bool) { return "", false },
	}).Mount(table)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/clustering/data-planes" {
			k.asked.Add(1)
		}
		m, found := table.Find(r.URL.EscapedPath())
		answer := rest.Message(http.StatusOK, "")
		switch {
		case found:
			var err error
			if answer, err = m.Handler(r.Method)(rest.NewRequest(w, r, m)); err != nil {
				answer, _ = rest.Of(err)
			}
		case r.URL.Path != "/environments/prod":
			answer = rest.Message(http.StatusNotFound, "Not found")
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
	}))
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// join links a data plane that holds a version.
func (k *keep) join(name, environment string, holds uint64) *fleet.Session {
	s := k.fleet.Join(
		fleet.Certificate{Name: name, Environment: environment, Serial: "0a", Issued: time.Now(), Expires: time.Now().Add(1000 * time.Hour), Issuer: "edge of prod"},
		fleet.Label{NodeID: "id-" + name, Hostname: "host\n" + name, Version: "1.2.0", Labels: map[string]string{"region": "eu"}}, fleet.Held{})
	if holds > 0 {
		s.Acked(fleet.Held{Epoch: 1, Version: holds, Hash: "bb"}, nil, fleet.Kept{})
	}
	return s
}

func (k *keep) run(args ...string) (out, progress string, err error) {
	k.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := fleetcmd.Command()
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(append(args, "--admin-url", k.url))
	err = cmd.ExecuteContext(k.t.Context())
	return stdout.String(), stderr.String(), err
}

func TestListOfNobody(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	if out, _, err := k.run("list"); err != nil || !strings.Contains(out, "no data plane is known yet") {
		t.Errorf("%s %v", out, err)
	}
	if out, _, err := k.run("list", "--environment", "nowhere"); err == nil || !strings.Contains(err.Error(), `there is no environment "nowhere"`) {
		t.Errorf("%s %v", out, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.join("edge-2", "prod", 7)
	k.join("edge-1", "prod", 5).Nacked("NACK_REASON_STORAGE: full")
	k.join("edge-1", "staging", 1).Leave()
	k.join("away", "prod", 3)
	out, _, err := k.run("list")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out, "\n")
	var names []string
	for _, line := range lines[1:] {
		if fields := strings.Fields(line); len(fields) > 8 && fields[0] != "newest" {
			names = append(names, fields[1]+"/"+fields[0])
		}
	}
	if got := strings.Join(names, " "); got != "prod/away prod/edge-1 prod/edge-2 staging/edge-1" {
		t.Errorf("the order: %s\n%s", got, out)
	}
	for _, words := range []string{"host?edge-2", "refused: NACK_REASON_STORAGE: full", "2 versions, 1m30s", "in 41 days", "newest configuration of prod: version 7 of epoch 1"} {
		if !strings.Contains(out, words) {
			t.Errorf("%q is missing:\n%s", words, out)
		}
	}
	if out, _, err := k.run("list", "--environment", "prod", "--status", "refused", "--label", "region:eu", "-o", "json"); err != nil {
		t.Error(err)
	} else {
		var all []map[string]any
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0]["name"] != "edge-1" {
			t.Errorf("as JSON: %v %s", err, out)
		}
	}
	if out, _, err := k.run("list", "--label", "region:us"); err != nil || !strings.Contains(out, "no data plane is known of that kind") {
		t.Errorf("%s %v", out, err)
	}
	for _, bad := range [][]string{{"--label", "region"}, {"--status", "good"}, {"-o", "xml"}} {
		if out, _, err := k.run(append([]string{"list"}, bad...)...); err == nil {
			t.Errorf("%v: %s", bad, out)
		}
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	s := k.join("edge-1", "prod", 5)
	s.Trust(4)
	s.Root("c0ffee")
	k.join("twin", "prod", 7)
	k.join("twin", "staging", 7)
	k.join("stolen", "prod", 7)
	out, _, err := k.run("show", "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{
		"prod/edge-1", "normal", "version 5 of epoch 1, hash bb, 2 versions, 1m30s behind", "by edge of prod", "below c0ffee",
		"renewed 2004-11-09", "sequence 4", "region:eu", "linked, last seen",
	} {
		if !strings.Contains(out, words) {
			t.Errorf("%q is missing:\n%s", words, out)
		}
	}
	if out, _, err := k.run("show", "stolen"); err != nil || !strings.Contains(out, "revoked") || !strings.Contains(out, "lost?[2J") {
		t.Errorf("%s %v", out, err)
	}
	if _, _, err := k.run("show", "twin"); err == nil || !strings.Contains(err.Error(), "prod/twin (id-twin), staging/twin (id-twin)") {
		t.Errorf("a name that two have: %v", err)
	}
	for _, args := range [][]string{{"twin", "--environment", "staging"}, {"staging/twin"}} {
		if out, _, err := k.run(append([]string{"show"}, args...)...); err != nil || !strings.Contains(out, "staging/twin") {
			t.Errorf("%v: %s %v", args, out, err)
		}
	}
	if _, _, err := k.run("show", "nobody"); err == nil || !strings.Contains(err.Error(), `no data plane "nobody" is known; keepgate-cp fleet list`) {
		t.Errorf("nobody: %v", err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.join("edge-1", "prod", 7)
	k.join("edge-2", "prod", 8) // later than what is waited for
	slow := k.join("edge-3", "prod", 5)
	k.join("other", "staging", 1)
	k.join("stolen", "prod", 1) // shut out: not waited for
	if out, said, err := k.run("wait", "--environment", "prod", "--percent", "60"); err != nil || !strings.Contains(out, "2 of 3 data planes of prod (66.7 %) hold version 7") || said != "" {
		t.Errorf("%s %s %v", out, said, err)
	}
	slow.Nacked("no room")
	_, said, err := k.run("wait", "--environment", "prod", "--timeout", "700ms")
	if err == nil || !strings.Contains(err.Error(), "2 of 3") || !strings.Contains(err.Error(), "100 % were asked for") {
		t.Errorf("one is missing: %v", err)
	}
	if !strings.Contains(said, "missing: edge-3 (id-edge-3) holds version 5; linked, refused: no room") || !strings.Contains(said, "refused by 1") {
		t.Errorf("who is missing: %s", said)
	}
	if _, _, err := k.run("wait", "--environment", "prod", "--version", "5"); err != nil {
		t.Errorf("a version by its number: %v", err)
	}
	for name, args := range map[string][]string{
		"no environment": {"--environment", "nowhere"}, "no number": {"--version", "last"}, "zero": {"--version", "0"},
		"too much": {"--percent", "101"}, "nothing": {"--percent", "0"}, "not a number": {"--percent", "NaN"}, "no time": {"--timeout", "0s"},
	} {
		if out, _, err := k.run(append([]string{"wait", "--environment", "prod"}, args...)...); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// TestWaitForNobody: where no data plane is known, nothing was rolled out.
// A version that changed nothing is not sent: who holds the same under the number before has it.
func TestWaitForAVersionThatChangedNothing(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	s := k.join("edge-1", "prod", 4)
	s.Acked(fleet.Held{Epoch: 1, Version: 4, Hash: "aa"}, nil, fleet.Kept{})
	for _, version := range []string{"newest", "7", "5"} {
		if out, _, err := k.run("wait", "--environment", "prod", "--version", version, "--timeout", "700ms"); err != nil {
			t.Errorf("version %s: %v\n%s", version, err, out)
		}
	}
	if _, _, err := k.run("wait", "--environment", "prod", "--version", "8", "--timeout", "100ms"); err == nil {
		t.Error("a version that is not there yet is held")
	}
}

func TestWaitForNobody(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	if _, _, err := k.run("wait", "--environment", "prod", "--timeout", "100ms"); err == nil || !strings.Contains(err.Error(), "no data plane of prod is known") {
		t.Errorf("%v", err)
	}
}

// TestWaitForWhatWasJustWritten: the node that is asked may not have read it yet, and its newest version is not meant.
func TestWaitForWhatWasJustWritten(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.published.Store(database - 1)
	s := k.join("edge-1", "prod", 7)
	type end struct {
		out string
		err error
	}
	done := make(chan end, 1)
	go func() {
		out, _, err := k.run("wait", "--environment", "prod", "--timeout", "30s")
		done <- end{out, err}
	}()
	for k.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	k.newest.Store(9)
	k.published.Store(database)
	for asked := k.asked.Load(); k.asked.Load() < asked+2; {
		select {
		case e := <-done:
			t.Fatalf("it ended before the newest was held: %+v", e)
		case <-time.After(time.Millisecond):
		}
	}
	s.Acked(fleet.Held{Epoch: 1, Version: 9, Hash: "aa"}, nil, fleet.Kept{})
	if e := <-done; e.err != nil || !strings.Contains(e.out, "hold version 9") {
		t.Errorf("%+v", e)
	}
}
