package nodes_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// env is a control plane as far as the registry reaches, on a real database. Registries of one env are nodes of one
// control plane.
type env struct {
	t       testing.TB
	path    string
	store   *sqlite.Store
	ring    *keyring.Ring
	catalog *catalog.Catalog
	ca      *mtlstest.CA // of the cluster
	edge    *mtlstest.CA // certifies data planes alone
	signer  *mtls.Source
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db")}
	var err error
	e.store, err = sqlite.Open(t.Context(), sqlite.Config{Path: e.path})
	e.must(err)
	t.Cleanup(func() { e.store.Close() })
	e.must(e.store.Migrate(t.Context()))
	e.ring, err = keyring.Open(t.Context(), e.store, local.New(filepath.Join(t.TempDir(), "keyring.key")), keyringtest.Prover("nodes"), keyring.Options{
		References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, e.store, id)
		},
	})
	e.must(err)
	cipher, err := encryption.New(t.Context(), e.store, encryption.FromSettings(e.ring, encryption.Options{}))
	e.must(err)
	e.catalog = catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 1})
	e.must(e.catalog.Start(t.Context()))
	e.ca = mtlstest.NewCA(t, "cluster")
	e.edge = e.ca.Intermediate(t, "edge")
	e.edge.Cert.PermittedURIDomains = []string{"data-plane"} // as such an authority's certificate would be read
	e.signer, _, _ = e.ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}})
	return e
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// registry is one node's, loaded; run starts it.
func (e *env) registry(options ...func(*nodes.Options)) *nodes.Registry {
	e.t.Helper()
	o := nodes.Options{Organisation: "acme", Signer: e.signer, Look: 10 * time.Millisecond}
	for _, change := range options {
		change(&o)
	}
	r := nodes.New(e.catalog, e.store, o)
	e.must(r.Load(e.t.Context()))
	return r
}

func (e *env) run(r *nodes.Registry) *nodes.Registry {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx) }()
	e.t.Cleanup(func() { cancel(); <-done })
	return r
}

// link is a data plane with a certificate, as a listener sees it.
type link struct {
	cs  tls.ConnectionState
	who identity.Identity
}

func (e *env) link(name string, by *mtlstest.CA) link {
	e.t.Helper()
	return e.linkFrom(name, by, time.Now().Add(-time.Minute))
}

func (e *env) linkFrom(name string, by *mtlstest.CA, notBefore time.Time) link {
	e.t.Helper()
	pair := by.Issue(e.t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: name}, NotBefore: notBefore})
	who, err := identity.Of(pair.Cert)
	e.must(err)
	chain := []*x509.Certificate{pair.Cert, by.Cert}
	if by != e.ca {
		chain = append(chain, e.ca.Cert)
	}
	return link{tls.ConnectionState{PeerCertificates: chain[:len(chain)-1], VerifiedChains: [][]*x509.Certificate{chain}}, who}
}

func (l link) certificate() nodes.Certificate {
	return nodes.Certificate{Serial: l.who.Serial, IssuedAt: time.Now().Unix(), NotAfter: l.who.NotAfter.Unix()}
}

// record puts the certificate on record as joining does.
func (e *env) record(l link) {
	e.t.Helper()
	_, err := e.catalog.Together(e.t.Context(), nodes.Piece(nodes.Key(l.who.Environment, l.who.Name), func(d nodes.Document) (nodes.Document, error) {
		return d.Join(l.who, "token", l.certificate()), nil
	}))
	e.must(err)
}

func (e *env) renew(with, to link) {
	e.t.Helper()
	_, err := e.catalog.Together(e.t.Context(), nodes.Piece(nodes.Key(to.who.Environment, to.who.Name), func(d nodes.Document) (nodes.Document, error) {
		return d.Renew(with.who.Serial, to.certificate())
	}))
	e.must(err)
}

// sql changes the database behind everybody's back.
func (e *env) sql(statement string, arguments ...any) {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_pragma=busy_timeout(60000)")
	e.must(err)
	defer db.Close()
	result, err := db.Exec(statement, arguments...)
	e.must(err)
	if n, _ := result.RowsAffected(); n == 0 {
		e.t.Fatalf("no row for %s", statement)
	}
}

func (e *env) eventually(what string, ok func() bool) {
	e.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			e.t.Fatalf("not in half a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// losing is a ring whose keys can be taken away.
type losing struct {
	encryption.Keys
	lost atomic.Bool
}

func (l *losing) lose(lost bool) { l.lost.Store(lost) }

func (l *losing) Key(id string) (*aead.Key, error) {
	if l.lost.Load() {
		return nil, fault.Newf(fault.Unavailable, "keyring.Key", "key/"+id, "its material is missing")
	}
	return l.Keys.Key(id)
}

func (l *losing) Active() (string, *aead.Key, error) {
	id, key, err := l.Keys.Active()
	if err == nil && l.lost.Load() {
		return id, nil, fault.Newf(fault.Unavailable, "keyring.Active", "key/"+id, "its material is missing")
	}
	return id, key, err
}

// over is another node's catalog, with keys of its own.
func (e *env) over(keys encryption.Keys) *catalog.Catalog {
	e.t.Helper()
	cipher, err := encryption.New(e.t.Context(), e.store, encryption.FromSettings(keys, encryption.Options{}))
	e.must(err)
	return catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 1})
}
