package enrol_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// env is a database with the authority of a cluster; node makes control plane nodes over it.
type env struct {
	t       testing.TB
	path    string
	store   record.Store
	ring    *keyring.Ring
	dir     string // of the authority
	files   mtls.Files
	root    *x509.Certificate
	journal *journal
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db")}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: e.path})
	e.must(err)
	t.Cleanup(func() { store.Close() })
	e.must(store.Migrate(t.Context()))
	return e.over(store)
}

func (e *env) over(store record.Store) *env {
	e.t.Helper()
	e.store = store
	var err error
	e.ring, err = keyring.Open(e.t.Context(), e.store, local.New(filepath.Join(e.t.TempDir(), "keyring.key")), keyringtest.Prover("enrol"), keyring.Options{
		References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, e.store, id)
		},
	})
	e.must(err)
	e.journal = &journal{}
	e.dir = filepath.Join(e.t.TempDir(), "pki")
	ca, err := certs.Create(e.dir, "acme", certs.Options{})
	e.must(err)
	e.root = ca.Certificate()
	issued, err := ca.Issue(certs.Spec{Role: identity.ControlPlane, Name: "cp"})
	e.must(err)
	dir := e.t.TempDir()
	e.files = mtls.Files{
		Cert: filepath.Join(dir, "cp.crt"), Key: filepath.Join(dir, "cp.key"), CA: filepath.Join(e.dir, "ca.crt"), CRL: filepath.Join(e.dir, "crl.pem"),
	}
	mtlstest.Write(e.t, e.files.Cert, issued.CertPEM)
	issued.KeyPEM.Reveal(func(data []byte) { mtlstest.Write(e.t, e.files.Key, slices.Clone(data)) })
	e.must(ca.Close())
	return e
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// node is one control plane node, as far as joining reaches.
type node struct {
	*env
	catalog     *catalog.Catalog
	source      *mtls.Source
	authorities *authority.Authorities
	registry    *nodes.Registry
	service     *enrol.Service
	address     string
}

func (e *env) node(options ...func(*enrol.Options)) *node {
	e.t.Helper()
	ctx := e.t.Context()
	n := &node{env: e}
	cipher, err := encryption.New(ctx, e.store, encryption.FromSettings(e.ring, encryption.Options{}))
	e.must(err)
	n.catalog = catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 1})
	e.must(n.catalog.Start(ctx))
	n.source, err = mtls.Open(e.files)
	e.must(err)
	n.authorities = authority.New(authority.Deps{
		Store: e.store, Catalog: n.catalog, Journal: e.journal, Files: n.source, Organisation: "acme", Sealing: func() error { return nil },
		ControlPlanes: func(context.Context) ([]authority.Holder, error) { return nil, nil },
		DataPlanes:    func(context.Context) ([]authority.Holder, error) { return nil, nil },
		Believe: func(authorities, retired []*x509.Certificate, lists []*x509.RevocationList) error {
			return n.source.Believe(trust.Bundle{Authorities: authorities, Retired: retired, Lists: lists})
		},
	}, authority.Options{})
	e.must(n.authorities.Load(ctx))
	n.registry = nodes.New(n.catalog, e.store, nodes.Options{Organisation: "acme", Signer: n.source, Look: 10 * time.Millisecond})
	e.must(n.registry.Load(ctx))
	o := enrol.Options{Organisation: "acme", Root: func() (enrolment.Pin, error) { return enrolment.PinOf(e.root), nil }, Journal: e.journal}
	for _, change := range options {
		change(&o)
	}
	n.service = enrol.New(n.catalog, n.registry, n.authorities, o)
	return n
}

// found makes an edge authority.
func (n *node) found() *node {
	n.t.Helper()
	asked, err := n.authorities.Request(n.t.Context(), n.root, false)
	n.must(err)
	ca, err := certs.Open(n.dir)
	n.must(err)
	issued, err := ca.SignEdge(asked.PEM, 0)
	n.must(err)
	n.must(ca.Close())
	var chain []*x509.Certificate
	for rest := issued.CertPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		n.must(err)
		chain = append(chain, cert)
	}
	n.must(n.authorities.Install(n.t.Context(), chain, false))
	return n
}

// serve listens as the control plane does.
func (n *node) serve() *node {
	n.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	n.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	server := grpc.NewServer(grpc.Creds(grpccreds.Joinable(n.source, nil, func(conn net.Conn) { n.service.Serve(ctx, conn) }, identity.DataPlane, identity.KMS)))
	enrolv1.RegisterEnrolServiceServer(server, n.service)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	running.Go(func() { _ = n.registry.Run(ctx) })
	n.t.Cleanup(func() { cancel(); server.Stop(); running.Wait() })
	n.address = listener.Addr().String()
	return n
}

func (n *node) invite(environment, name string) enrolment.Token {
	n.t.Helper()
	text, _, err := n.service.Invite(n.t.Context(), enrol.Invitation{Environment: environment, Name: name})
	n.must(err)
	return n.token(text.Reveal)
}

func (n *node) token(reveal func(func([]byte))) (token enrolment.Token) {
	n.t.Helper()
	reveal(func(data []byte) {
		var err error
		token, err = enrolment.ParseToken(string(data))
		n.must(err)
	})
	return token
}

// asking is what a node says.
type asking struct {
	key      crypto.Signer
	name     string
	hostname string
	template x509.CertificateRequest
}

func (e *env) request(a asking) []byte {
	e.t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &a.template, a.key)
	e.must(err)
	return der
}

func (e *env) newKey() crypto.Signer {
	e.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	e.must(err)
	return key
}

// join asks as a data plane does, for as long as it takes.
func (n *node) join(token enrolment.Token, a asking) (*enrolment.Answer, error) {
	n.t.Helper()
	if a.key == nil {
		a.key = n.newKey()
	}
	return n.say(token, n.said(a))
}

func (n *node) said(a asking) *enrolv1.JoinRequest {
	n.t.Helper()
	return &enrolv1.JoinRequest{Request: n.request(a), Name: a.name, Hostname: a.hostname, Version: "1"}
}

func (n *node) say(token enrolment.Token, said *enrolv1.JoinRequest) (*enrolment.Answer, error) {
	n.t.Helper()
	token.Text().Reveal(func(text []byte) { said.Token = string(text) })
	response := n.service.Join(context.Background(), addr("127.0.0.1"), said)
	if refusal := response.GetRefusal(); refusal != nil {
		return nil, &enrolment.Refused{Reason: refusal.GetReason(), Again: refusal.GetAgain()}
	}
	return &enrolment.Answer{Issued: response.GetIssued()}, nil
}

// joinByNetwork asks over the network, and asks again with the same key when the machine is too slow for an exchange.
func (n *node) joinByNetwork(token enrolment.Token, a asking) (answer *enrolment.Answer, err error) {
	n.t.Helper()
	said := n.said(a)
	dial := func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", n.address) }
	for range 20 {
		answer, err = enrolment.Exchange(context.Background(), dial, token, said)
		if _, refused := errors.AsType[*enrolment.Refused](err); err == nil || refused {
			break
		}
		n.t.Logf("asked in vain: %v", err)
	}
	return answer, err
}

// member is a data plane with what it was given.
func (e *env) member(answer *enrolment.Answer, key crypto.Signer) *mtls.Source {
	e.t.Helper()
	dir := e.t.TempDir()
	files := mtls.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.crt")}
	mtlstest.Write(e.t, files.Cert, pemOf(answer.Issued.Chain))
	mtlstest.Write(e.t, files.CA, pemOf(answer.Issued.Trust.Authorities))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	e.must(err)
	mtlstest.Write(e.t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	source, err := mtls.Open(files)
	e.must(err)
	return source
}

func pemOf(list [][]byte) (text []byte) {
	for _, der := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func (e *env) leaf(chain [][]byte) *x509.Certificate {
	e.t.Helper()
	cert, err := x509.ParseCertificate(chain[0])
	e.must(err)
	return cert
}

// link is a connection of a data plane that joined, as the listener sees it.
func (n *node) link(answer *enrolment.Answer) (tls.ConnectionState, identity.Identity) {
	n.t.Helper()
	var presented []*x509.Certificate
	for _, der := range answer.Issued.Chain {
		cert, err := x509.ParseCertificate(der)
		n.must(err)
		presented = append(presented, cert)
	}
	who, err := identity.Of(presented[0])
	n.must(err)
	return tls.ConnectionState{PeerCertificates: presented}, who
}

// journal keeps what it is told.
type journal struct {
	mu      sync.Mutex
	down    bool     // guarded by mu
	entries []string // guarded by mu; "action subject detail"
}

func (j *journal) Record(_ context.Context, action, subject string, detail ...string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.down {
		return fault.New(fault.Unavailable, "audit.Record", action, nil)
	}
	j.entries = append(j.entries, strings.Join(append([]string{action, subject}, detail...), " "))
	return nil
}

func (j *journal) Refused(_ context.Context, action, subject string, detail ...string) {
	_ = j.Record(context.Background(), "refused:"+action, subject, detail...)
}

func (j *journal) fail(down bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.down = down
}

// noted returns the entries that begin with a text.
func (j *journal) noted(begin string) (found []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, entry := range j.entries {
		if strings.HasPrefix(entry, begin) {
			found = append(found, entry)
		}
	}
	return found
}

func (e *env) sql(statement string, arguments ...any) {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_pragma=busy_timeout(60000)")
	e.must(err)
	defer db.Close()
	_, err = db.Exec(statement, arguments...)
	e.must(err)
}

func wantRefused(t *testing.T, what string, answer *enrolment.Answer, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: a certificate was issued: %v", what, answer.Issued != nil)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q in it", what, err, word)
		}
	}
}
