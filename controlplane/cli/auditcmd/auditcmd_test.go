package auditcmd_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin/journal"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/cli/auditcmd"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

const cluster = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"

// plane is several nodes on one database, each with an Admin API and heads of its own.
type plane struct {
	t     *testing.T
	store *sqlite.Store
	raw   *sql.DB
	ca    *mtlstest.CA
	files mtls.Files // of the first node
	nodes []*member
}

type member struct {
	*audit.Journal
	source *mtls.Source
	url    string
	path   string
}

// Prove signs with the node's certificate.
func (m *member) Prove(context string, message []byte) ([]byte, error) {
	return m.source.Sign(context, message)
}

// Check believes every control plane node of the CA.
func (m *member) Check(context string, message, proof []byte) error {
	_, err := m.source.Proven(context, message, proof, mtls.Ever, mtls.ControlPlane)
	return err
}

func newPlane(t *testing.T, names ...string) *plane {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keep.db")
	p := &plane{t: t, ca: mtlstest.NewCA(t, "cluster")}
	var err error
	if p.store, err = sqlite.Open(t.Context(), sqlite.Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close() })
	if err := p.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.raw, err = sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.raw.Close() })
	for _, name := range names {
		p.add(name)
	}
	return p
}

func (p *plane) add(name string) {
	p.t.Helper()
	m := &member{path: filepath.Join(p.t.TempDir(), "audit-heads")}
	identity := mtls.Identity{Role: mtls.ControlPlane, Organisation: "acme", Name: name}
	var files mtls.Files
	m.source, files, _ = p.ca.Source(p.t, mtlstest.Leaf{Identity: identity})
	if p.files.CA == "" {
		p.files = files
	}
	var err error
	m.Journal, err = audit.Open(p.t.Context(), p.store, name, audit.Options{
		Cluster: cluster, Prover: m, HeadsPath: m.path,
		Say: func(head []byte) {
			for _, other := range p.nodes {
				if other != m {
					other.Heard(m.source.Identity().String(), name, head)
				}
			}
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	table := rest.NewTable()
	journal.New(m).Mount(table)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		match, found := table.Find(r.URL.EscapedPath())
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer, err := match.Handler(r.Method)(rest.NewRequest(w, r, match))
		if err != nil {
			answer, _ = rest.Of(err)
		}
		w.WriteHeader(answer.Status)
		_, _ = w.Write(answer.Body)
	}))
	p.t.Cleanup(server.Close)
	m.url = server.URL
	p.nodes = append(p.nodes, m)
}

// tick does on all nodes what they do every second.
func (p *plane) tick() {
	p.t.Helper()
	ctx, stop := context.WithCancel(p.t.Context())
	stop()
	for _, m := range p.nodes {
		_ = m.Run(ctx)
	}
	for _, m := range p.nodes { // what was heard meanwhile
		_ = m.Run(ctx)
	}
}

func (p *plane) act(m *member, subjects ...string) {
	p.t.Helper()
	ctx := audit.WithActor(p.t.Context(), audit.Actor{Client: "127.0.0.1:4711", Via: "loopback"})
	for _, subject := range subjects {
		if err := m.Record(ctx, "key.activate", subject, "force", "0"); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *plane) exec(statement string) {
	p.t.Helper()
	if _, err := p.raw.ExecContext(p.t.Context(), statement); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plane) run(arguments ...string) (string, error) {
	p.t.Helper()
	command, out := auditcmd.Command(), &bytes.Buffer{}
	command.SetOut(out)
	command.SetErr(out)
	command.SilenceErrors = true
	command.SetArgs(arguments)
	err := command.ExecuteContext(p.t.Context())
	return out.String(), err
}

func (p *plane) verify(more ...string) (string, error) {
	p.t.Helper()
	arguments := []string{"verify", "--ca", p.files.CA}
	for _, m := range p.nodes {
		arguments = append(arguments, "--admin", m.url)
	}
	return p.run(append(arguments, more...)...)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa", "key/bbbbbbbb")
	p.act(p.nodes[1], "key/cccccccc")
	p.tick()
	out, err := p.verify("--crl", p.files.CRL)
	if err != nil || !strings.Contains(out, "node cp-1: 3 entries, held against 2 heads") || !strings.Contains(out, "nothing found in 2 chains") || strings.Contains(out, "note") {
		t.Fatalf("of a journal that nobody touched: %v\n%s", err, out)
	}
	p.act(p.nodes[0], "key/dddddddd") // newer than every head
	if out, err := p.verify(); err != nil {
		t.Fatalf("with an entry newer than the heads: %v\n%s", err, out)
	}
	p.tick()
	p.exec("DELETE FROM audit_entries WHERE node = 'cp-1' AND sequence > 2")
	for name, ask := range map[string][]string{
		"the node itself":    {"verify", "--admin-url", p.nodes[0].url},
		"its peer":           {"verify", "--admin", p.nodes[1].url, "--ca", p.files.CA},
		"a copy of its file": {"verify", "--admin", p.nodes[1].url, "--heads", p.nodes[0].path},
	} {
		out, err := p.run(ask...)
		if err == nil || !strings.Contains(out, "missing  node cp-1: the end of the chain is missing: a head says that it had 4 entries, and 2 are there") {
			t.Errorf("asking %s: %v\n%s", name, err, out)
		}
	}
	p.exec("DELETE FROM audit_entries WHERE node = 'cp-2'")
	out, err = p.verify("--json")
	var found struct{ Findings []audit.Finding }
	if jsonErr := json.Unmarshal([]byte(out), &found); err == nil || jsonErr != nil || len(found.Findings) != 2 || found.Findings[1].Kind != audit.Missing || found.Findings[1].Node != "cp-2" {
		t.Errorf("as JSON: %v, %v\n%s", err, jsonErr, out)
	}
}

// Somebody who has one node and the database cannot speak for the other nodes.
func TestVerifyChecksWhoSigned(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa")
	p.tick()
	other := mtlstest.NewCA(t, "other")
	_, files, _ := other.Source(t, mtlstest.Leaf{Identity: mtls.Identity{Role: mtls.ControlPlane, Organisation: "acme", Name: "cp-1"}})
	if out, err := p.verify("--ca", files.CA); err == nil || !strings.Contains(out, "unverified  node cp-1: the head of entry 2 is not proved") {
		t.Errorf("with another CA: %v\n%s", err, out)
	}
	data, err := os.ReadFile(p.nodes[1].path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "heads")
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte("/cp-1"), []byte("/cp-2")))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "was heard saying it") {
		t.Errorf("a head of another identity: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte(`"sequence":2`), []byte(`"sequence":9`)))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "the head of entry 9 is not proved") || strings.Contains(out, "missing") {
		t.Errorf("a head that was changed: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, bytes.ReplaceAll(data, []byte(cluster), []byte("another")))
	if out, err := p.run("verify", "--admin", p.nodes[0].url, "--heads", copied); err == nil || strings.Count(out, "in the database another") != 2 {
		t.Errorf("heads of another database: %v\n%s", err, out)
	}
	mtlstest.Write(t, copied, append([]byte("damaged\n"), data...))
	if out, err := p.verify("--heads", copied); err == nil || !strings.Contains(out, "line 1") {
		t.Errorf("a damaged file: %v\n%s", err, out)
	}
	for name, ask := range map[string][]string{
		"a CRL without a CA": {"verify", "--crl", p.files.CRL}, "a CA that is none": {"verify", "--ca", p.files.Key},
		"a file that is not there": {"verify", "--admin", p.nodes[0].url, "--heads", copied + "x"}, "nobody": {"verify", "--admin", "http://127.0.0.1:1"},
	} {
		if out, err := p.run(ask...); err == nil {
			t.Errorf("%s passes:\n%s", name, out)
		}
	}
}

func TestVerifyRefusesTwoDatabases(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1")
	p.tick()
	lies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"cluster":"other\u001b[2J","node":"x","chains":[],"data":[]}`))
	}))
	t.Cleanup(lies.Close)
	if _, err := p.verify("--admin", lies.URL); err == nil || !strings.Contains(err.Error(), "ask nodes of one control plane") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("verify = %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1", "cp-2")
	p.act(p.nodes[0], "key/aaaaaaaa", "key/bbbbbbbb")
	p.act(p.nodes[1], "key/cccccccc")
	p.tick()
	p.exec("UPDATE audit_entries SET body = replace(body, 'key/bbbbbbbb', 'key/b" + "\\u001b[2J" + "') WHERE node = 'cp-1'")
	at := p.nodes[1].url
	tests := map[string]struct {
		ask    []string
		want   []string // in this order
		absent []string
	}{
		"all":           {nil, []string{"TIME", "key.activate  key/aaaaaaaa  force=0", "key/cccccccc"}, []string{"\x1b"}},
		"one node":      {[]string{"--node", "cp-2"}, []string{"audit.start", "127.0.0.1:4711 (loopback)  key.activate  key/cccccccc"}, []string{"cp-1"}},
		"some actions":  {[]string{"--action", "key"}, []string{"key/aaaaaaaa"}, []string{"audit.start"}},
		"one entry":     {[]string{"-n", "1", "--action", "key"}, []string{"key/cccccccc"}, []string{"key/aaaaaaaa"}},
		"as JSON lines": {[]string{"--json", "--node", "cp-2", "--action", "key"}, []string{`{"node":"cp-2","sequence":2,`, `"detail":{"force":"0"}`}, []string{"TIME"}},
	}
	for name, test := range tests {
		out, err := p.run(append([]string{"list", "--admin-url", at}, test.ask...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rest := out
		for _, text := range test.want {
			_, after, found := strings.Cut(rest, text)
			if rest = after; !found {
				t.Errorf("%s: no %q in\n%s", name, text, out)
				break
			}
		}
		for _, text := range test.absent {
			if strings.Contains(out, text) {
				t.Errorf("%s: %q in\n%s", name, text, out)
			}
		}
	}
	if _, err := p.run("list", "--admin-url", at, "-n", "0"); err == nil {
		t.Error("no entries were asked for")
	}
}

// Following shows what comes, each once.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "cp-1")
	p.act(p.nodes[0], "key/aaaaaaaa")
	ctx, stop := context.WithCancel(t.Context())
	out := &until{text: "key/bbbbbbbb", found: stop, first: func() { p.act(p.nodes[0], "key/bbbbbbbb") }}
	command := auditcmd.Command()
	command.SetOut(out)
	command.SetArgs([]string{"list", "--follow", "--every", "10ms", "--admin-url", p.nodes[0].url})
	if err := command.ExecuteContext(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "key/aaaaaaaa") != 1 || strings.Count(text, "key/bbbbbbbb") != 1 {
		t.Errorf("followed:\n%s", text)
	}
}

// until is an output that does something when it is first written to, and when a text was written.
type until struct {
	bytes.Buffer
	text         string
	first, found func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if u.first != nil {
		first := u.first
		u.first = nil
		first()
	}
	if strings.Contains(u.String(), u.text) {
		u.found()
	}
	return n, err
}
