package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// journalled is an Admin API with a journal whose database can be taken away.
type journalled struct {
	*env
	journal *audit.Journal
	away    atomic.Bool
}

// AppendAudit fails while the database is away.
func (j *journalled) AppendAudit(ctx context.Context, entries []record.AuditEntry) error {
	if j.away.Load() {
		return fault.Newf(fault.Unavailable, "test", "", "the database is away")
	}
	return j.store.AppendAudit(ctx, entries)
}

func (j *journalled) Audit(ctx context.Context, query record.AuditQuery) ([]record.AuditEntry, error) {
	return j.store.Audit(ctx, query)
}

func (j *journalled) AuditHeads(ctx context.Context) ([]record.AuditEntry, error) {
	return j.store.AuditHeads(ctx)
}

func newJournalled(t *testing.T) *journalled {
	t.Helper()
	return newJournalledOver(t, newEnvWith(t, nil, admin.Options{}))
}

func newJournalledOver(t *testing.T, e *env) *journalled {
	t.Helper()
	j := &journalled{env: e}
	var err error
	j.journal, err = audit.Open(t.Context(), j, "node-1", audit.Options{
		Cluster: "cluster-1", HeadsPath: filepath.Join(t.TempDir(), "audit-heads"),
	})
	if err != nil {
		t.Fatal(err)
	}
	j.deps.Journal = j.journal
	j.serve(admin.Options{Version: "0.1.0"})
	return j
}

// settle has the journal write what was refused, as it does every second.
func (j *journalled) settle() {
	j.t.Helper()
	ctx, stop := context.WithCancel(j.t.Context())
	stop()
	_ = j.journal.Run(ctx) // writes before it ends
}

// entry is one of GET /audit.
type entry struct {
	Node, Action, Subject, Outcome string
	Sequence                       uint64
	Actor                          struct{ Client, Via string }
	Detail                         map[string]string
}

// entries reads the journal, oldest first.
func (j *journalled) entries(query string) (all []entry) {
	j.t.Helper()
	for path := "/audit?" + query; path != ""; {
		a := j.get(path)
		var page struct {
			Data []entry
			Next *string
		}
		if err := json.Unmarshal([]byte(a.text), &page); err != nil || a.status != http.StatusOK {
			j.t.Fatalf("GET %s: %d %s, %v", path, a.status, a.text, err)
		}
		all = append(all, page.Data...)
		if path = ""; page.Next != nil {
			path = *page.Next
		}
	}
	slices.Reverse(all)
	return all
}

func texts(entries []entry) (lines []string) {
	for _, e := range entries {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(e.Action, " ", e.Actor.Via, " ", e.Detail["method"], " ", e.Subject, " ", e.Detail["for"], e.Outcome)))
	}
	return lines
}

func TestDecisionsAreRecorded(t *testing.T) {
	t.Parallel()
	j := newJournalled(t)
	service := id(j.made("/services", `{"name":"s","host":"h"}`))
	j.get("/services")
	j.get("/config") // shows secrets, so it is recorded though it reads
	if a := j.patch("/services/s", `{"host":"other"}`); a.status != http.StatusOK {
		t.Fatal(a.text)
	}
	j.put("/services/"+service, `{"bad":1}`)                    // admitted, refused by its own rules
	j.do("DELETE", "/services/s?secret=canary", "", "")         // the query may hold what nobody may see
	j.do("POST", "/consumers", jsonType, `{"username":"bob"}`)  //
	j.do("POST", "/consumers/bob/key-auth", form, "key=canary") //
	j.do("DELETE", "/consumers/bob/key-auth/canary", "", "")
	j.do("POST", "/nowhere", "", "") // no act, so no entry
	j.do("PATCH", "/services", "", "")
	if a := j.do("POST", "/services", jsonType, `{"name":"t","host":"h"}`, "Keepgate-Admin-Token", testToken); a.status != http.StatusCreated {
		t.Fatal(a.text)
	}
	j.do("POST", "/services", jsonType, `{}`, "Host", "evil.example")
	j.do("POST", "/services", jsonType, `{}`, "Sec-Fetch-Site", "cross-site")
	j.do("GET", "/config", "", "", "Keepgate-Admin-Token", "wrong, and long enough to be one")
	j.settle()
	want := []string{
		"audit.start node  node/node-1",
		"access.allow loopback POST /services",
		"access.allow loopback GET /config exporting the configuration with its secrets",
		"access.allow loopback PATCH /services/s",
		"access.allow loopback PUT /services/" + service,
		"access.allow loopback DELETE /services/s",
		"access.allow loopback POST /consumers",
		"access.allow loopback POST /consumers/bob/key-auth",
		"access.allow loopback DELETE /consumers/bob/key-auth/REDACTED",
		"access.allow token POST /services",
		"access.deny loopback POST /services denied",
		"access.deny forwarded POST /services denied",
		"access.deny forwarded GET /config denied",
	}
	all := j.entries("size=2")
	got := texts(all)
	want[len(want)-1] = "access.deny loopback GET /config denied"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the journal (-want +got):\n%s", diff)
	}
	for i, e := range all {
		if e.Sequence != uint64(i+1) || e.Node != "node-1" || (e.Actor.Via != "node" && e.Actor.Client == "") {
			t.Errorf("entry %d: %+v", i+1, e)
		}
	}
	if a := j.get("/audit/chain?node=node-1"); strings.Contains(a.text, "canary") || a.status != http.StatusOK {
		t.Errorf("a secret is in the journal: %s", a.text)
	}
	for query, count := range map[string]int{
		"action=access": 12, "action=access.deny&size=1": 3, "action=acc": 0, "node=node-1&size=3": 13, "node=node-1&action=audit": 1, "node=other": 0,
	} {
		if found := j.entries(query); len(found) != count {
			t.Errorf("GET /audit?%s shows %d entries, want %d", query, len(found), count)
		}
	}
}

// No entry, no act.
func TestNothingIsDoneWithoutAnEntry(t *testing.T) {
	t.Parallel()
	j := newJournalled(t)
	j.made("/services", `{"name":"s","host":"h"}`)
	j.away.Store(true)
	for _, path := range []string{"/services", "/services/s"} {
		method := map[string]string{"/services": "POST", "/services/s": "DELETE"}[path]
		if a := j.do(method, path, jsonType, `{"name":"t","host":"h"}`); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d %s", method, path, a.status, a.text)
		}
	}
	if a := j.get("/config"); a.status != http.StatusServiceUnavailable || strings.Contains(a.text, "services") {
		t.Errorf("GET /config: %d %s", a.status, a.text)
	}
	if a := j.get("/services/t"); a.status != http.StatusNotFound {
		t.Errorf("it was made all the same: %d", a.status)
	}
	if a := j.get("/services/s"); a.status != http.StatusOK {
		t.Errorf("it was deleted all the same: %d", a.status)
	}
	j.away.Store(false)
	if a := j.do("DELETE", "/services/s", "", ""); a.status != http.StatusNoContent {
		t.Errorf("with the database back: %d %s", a.status, a.text)
	}
}

// A flood of refused requests costs the database a few entries a second.
func TestRefusalsDoNotFillTheJournal(t *testing.T) {
	t.Parallel()
	j := newJournalled(t)
	for range 100 {
		j.do("POST", "/services", jsonType, `{}`, "Host", "evil.example")
	}
	j.settle()
	got := texts(j.entries("action=access.deny"))
	if len(got) != 10 {
		t.Errorf("%d entries of 100 refusals", len(got))
	}
	omitted := j.entries("action=audit.omitted")
	if len(omitted) != 1 || omitted[0].Detail["refusals"] != "90" {
		t.Errorf("what was left out: %+v", omitted)
	}
}

func TestJournalRefuses(t *testing.T) {
	t.Parallel()
	j := newJournalled(t)
	for path, want := range map[string]int{
		"/audit?size=0": 400, "/audit?size=1001": 400, "/audit?size=x": 400, "/audit?offset=x": 400, "/audit?offset=W10": 400,
		"/audit?offset=WzEsIm4iLC0xXQ": 400, "/audit/chain": 400, "/audit/chain?node=n&after=-1": 400, "/audit/chain?node=n&after=x": 400,
		"/audit/chain?node=n&size=0": 400, "/audit/chain?node=%00": 400, "/audit/chain?node=n": 200, "/audit/heads": 200, "/audit": 200,
	} {
		if a := j.get(path); a.status != want {
			t.Errorf("GET %s: %d %s, want %d", path, a.status, a.text, want)
		}
	}
	if a := j.do("DELETE", "/audit", "", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE /audit: %d", a.status)
	}
}
