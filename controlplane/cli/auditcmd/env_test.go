package auditcmd_test

import (
	"bytes"
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin/journal"
	"github.com/keepgate/keepgate/controlplane/admin/rest"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/cli/auditcmd"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
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
func (m *member) Check(context string, message, said []byte) error {
	_, err := m.source.Proven(context, message, said, proof.Ever, identity.ControlPlane)
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
	who := identity.Identity{Role: identity.ControlPlane, Organisation: "acme", Name: name}
	var files mtls.Files
	m.source, files, _ = p.ca.Source(p.t, mtlstest.Leaf{Identity: who})
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
