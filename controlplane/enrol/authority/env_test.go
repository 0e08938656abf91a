package authority_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// migrated is an empty database, which is copied instead of made for every test.
var migrated = sync.OnceValues(func() (file []byte, err error) {
	dir, err := os.MkdirTemp("", "authority")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "keep.db")
	store, err := sqlite.Open(context.Background(), sqlite.Config{Path: path})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.Migrate(context.Background()), store.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// env is a control plane on a real database, and the folder of its cluster's CA.
type env struct {
	t       testing.TB
	path    string // of the database
	store   *sqlite.Store
	ring    *keyring.Ring
	catalog *catalog.Catalog
	folder  string
	ca      *certs.Authority
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db"), folder: filepath.Join(t.TempDir(), "pki")}
	empty, err := migrated()
	e.must(err)
	e.must(os.WriteFile(e.path, empty, 0o600))
	e.store, err = sqlite.Open(t.Context(), sqlite.Config{Path: e.path})
	e.must(err)
	t.Cleanup(func() { e.store.Close() })
	e.ring, err = keyring.Open(t.Context(), e.store, local.New(filepath.Join(t.TempDir(), "keyring.key")), keyringtest.Prover("trust"), keyring.Options{
		References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, e.store, id)
		},
	})
	e.must(err)
	e.catalog = e.newCatalog(e.ring)
	e.must(e.catalog.Start(t.Context()))
	e.ca = e.open(certs.Create(e.folder, "acme", certs.Options{}))
	return e
}

// newCatalog is a node's own; without a ring it writes in clear.
func (e *env) newCatalog(ring *keyring.Ring) *catalog.Catalog {
	e.t.Helper()
	var keys encryption.Keys
	if ring != nil {
		keys = ring
	}
	cipher, err := encryption.New(e.t.Context(), e.store, encryption.FromSettings(keys, encryption.Options{}))
	e.must(err)
	return catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 1})
}

func (e *env) open(ca *certs.Authority, err error) *certs.Authority {
	e.t.Helper()
	e.must(err)
	e.t.Cleanup(func() { _ = ca.Close() })
	return ca
}

// after is another CA, which the present one vouches for, and its folder.
func (e *env) after() (*certs.Authority, string) {
	dir := filepath.Join(e.t.TempDir(), "next")
	return e.open(certs.CreateAfter(e.ca, dir, certs.Options{})), dir
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// journal keeps what was recorded, or refuses.
type journal struct {
	mu      sync.Mutex
	entries []string
	err     error
}

func (j *journal) Record(_ context.Context, action, subject string, detail ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.entries = append(j.entries, action+" "+subject+" "+strings.Join(detail, " "))
	}
	return j.err
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.entries, "\n")
}

// node is one control plane node.
type node struct {
	*authority.Authorities
	source  *mtls.Source
	journal *journal
	log     *bytes.Buffer

	mu                        sync.Mutex
	controlPlanes, dataPlanes []authority.Holder
	sealing                   error
}

func (n *node) holders(list *[]authority.Holder) func(context.Context) ([]authority.Holder, error) {
	return func(context.Context) ([]authority.Holder, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		return append([]authority.Holder(nil), *list...), nil
	}
}

func (n *node) seen(controlPlanes, dataPlanes []authority.Holder) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.controlPlanes, n.dataPlanes = controlPlanes, dataPlanes
}

type locked struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// files are those of a control plane that was issued a certificate by a folder's CA.
func (e *env) files(ca *certs.Authority, folder string) mtls.Files {
	e.t.Helper()
	issued, err := ca.Issue(certs.Spec{Role: identity.ControlPlane, Name: "cp"})
	e.must(err)
	dir, paths := e.t.TempDir(), certs.PathsIn(folder)
	files := mtls.Files{Cert: filepath.Join(dir, "cp.crt"), Key: filepath.Join(dir, "cp.key"), CA: paths.CA, CRL: paths.CRL}
	e.must(os.WriteFile(files.Cert, issued.CertPEM, 0o600))
	issued.KeyPEM.Reveal(func(key []byte) { e.must(os.WriteFile(files.Key, key, 0o600)) })
	return files
}

// node makes a node of the control plane, which has read what there is.
func (e *env) node() *node {
	e.t.Helper()
	n := e.unread(e.files(e.ca, e.folder), e.catalog)
	e.must(n.Load(e.t.Context()))
	return n
}

func (e *env) unread(files mtls.Files, rows authority.Catalog) *node {
	e.t.Helper()
	source, err := mtls.Open(files)
	e.must(err)
	n := &node{source: source, journal: &journal{}, log: &bytes.Buffer{}}
	n.Authorities = authority.New(authority.Deps{
		Store: e.store, Catalog: rows, Journal: n.journal, Files: source, Organisation: "acme",
		Sealing:       func() error { return n.sealing },
		ControlPlanes: n.holders(&n.controlPlanes), DataPlanes: n.holders(&n.dataPlanes),
		Believe: func(authorities, retired []*x509.Certificate, lists []*x509.RevocationList) error {
			return source.Believe(trust.Bundle{Authorities: authorities, Retired: retired, Lists: lists})
		},
	}, authority.Options{Log: slog.New(slog.NewTextHandler(&locked{b: n.log}, nil))})
	return n
}

// create has a CA sign, as the command does.
func (n *node) create(t testing.TB, ca *certs.Authority, force bool) error {
	t.Helper()
	asked, err := n.Request(t.Context(), ca.Certificate(), force)
	if err != nil {
		return err
	}
	return n.Install(t.Context(), sign(t, ca, asked.PEM), force)
}

func sign(t testing.TB, ca *certs.Authority, request []byte) []*x509.Certificate {
	t.Helper()
	issued, err := ca.SignEdge(request, 0)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, issued.CertPEM)
}

func parsed(t testing.TB, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, cert)
	}
	return chain
}

func who(name string) identity.Identity {
	return identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: name}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, _, err := privatekey.New()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// shows is a connection on which a peer has shown a chain.
func shows(t testing.TB, chain [][]byte) tls.ConnectionState {
	t.Helper()
	cs := tls.ConnectionState{Version: tls.VersionTLS13}
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		cs.PeerCertificates = append(cs.PeerCertificates, cert)
	}
	return cs
}

// sql changes the database as whoever writes it without its keys does.
func (e *env) sql(statement string, args ...any) {
	e.t.Helper()
	db, err := sql.Open("sqlite", e.path)
	e.must(err)
	defer db.Close()
	result, err := db.ExecContext(e.t.Context(), statement, args...)
	e.must(err)
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		e.t.Fatalf("%s changed nothing: %v", statement, err)
	}
}

// sealed is the document as it rests.
func (e *env) sealed() string {
	e.t.Helper()
	row, err := e.store.ByUnique(e.t.Context(), "cluster_trust", "", "name", "cluster")
	e.must(err)
	return row.Sealed["document"]
}

func wantFault(t testing.TB, err error, kind fault.Kind, says ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("error %v, want kind %v", err, kind)
		return
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want it to say %q", err, word)
		}
	}
}

var errTest = errors.New("a test wants it so")

func documentOf(m proto.Message) string { return m.(*configv1.ClusterTrust).GetDocument() }

func fingerprint(ca *certs.Authority) string { return authority.Fingerprint(ca.Certificate()) }

func listing(table string) record.Query { return record.Query{Table: table, AnyWorkspace: true} }

func (e *env) workspace() string {
	id, err := e.catalog.Workspace(e.t.Context(), "")
	e.must(err)
	return id
}
