package enrol

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
)

// authority certifies, for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	must(t, err)
	return n.Add(n, big.NewInt(1))
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{cert, key}
}

// issue certifies a key as somebody for so long.
func (a *authority) issue(t testing.TB, public crypto.PublicKey, id mtls.Identity, life time.Duration) *x509.Certificate {
	t.Helper()
	uri, err := url.Parse(id.String())
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: id.Name}, URIs: []*url.URL{uri}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Second), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if id.Role == mtls.ControlPlane {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

func (a *authority) list(t testing.TB, number int64, revoked ...*x509.Certificate) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	must(t, err)
	return der
}

func bundle(sequence uint64, authorities ...*authority) *enrolv1.Trust {
	b := &enrolv1.Trust{Sequence: sequence}
	for _, a := range authorities {
		b.Authorities = append(b.Authorities, a.cert.Raw)
	}
	return b
}

// cluster is a control plane of one node: it lets everybody join, and renews.
type cluster struct {
	root   *authority
	chain  []*x509.Certificate // of the control plane's node, the root last
	source *mtls.Source        // the node
	pair   tls.Certificate

	mu     sync.Mutex
	trust  *enrolv1.Trust                                          // what it tells; guarded by mu
	life   time.Duration                                           // of what it issues; guarded by mu
	bend   func(*enrolv1.JoinRequest, *enrolv1.Issued)             // guarded by mu
	who    mtls.Identity                                           // whom it certifies; guarded by mu
	refuse error                                                   // of renewals; guarded by mu
	sign   func(crypto.PublicKey, mtls.Identity) *x509.Certificate // guarded by mu
	issued int                                                     // guarded by mu
}

func edge(name string) mtls.Identity {
	return mtls.Identity{Role: mtls.DataPlane, Organisation: "acme", Environment: "prod", Name: name}
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{root: newAuthority(t, "root"), life: time.Hour, who: edge("edge-1")}
	c.trust = bundle(5, c.root)
	c.sign = func(public crypto.PublicKey, id mtls.Identity) *x509.Certificate {
		return c.root.issue(t, public, id, c.life)
	}
	key, text, err := mtls.NewKey()
	must(t, err)
	leaf := c.root.issue(t, key.Public(), mtls.Identity{Role: mtls.ControlPlane, Organisation: "acme", Name: "cp"}, 10*365*24*time.Hour)
	c.chain = []*x509.Certificate{leaf, c.root.cert}
	c.pair = tls.Certificate{Certificate: [][]byte{leaf.Raw, c.root.cert.Raw}, PrivateKey: key}
	dir := t.TempDir()
	text.Reveal(func(data []byte) { must(t, os.WriteFile(filepath.Join(dir, "key"), data, 0o600)) })
	must(t, os.WriteFile(filepath.Join(dir, "crt"), encode("CERTIFICATE", [][]byte{leaf.Raw}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "ca"), encode("CERTIFICATE", [][]byte{c.root.cert.Raw}), 0o600))
	c.source, err = mtls.Open(mtls.Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")})
	must(t, err)
	return c
}

// shown is how the control plane's node proves itself.
func (c *cluster) shown() tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: c.chain}
}

func (c *cluster) certify(request []byte) (*enrolv1.Issued, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil || csr.CheckSignature() != nil {
		return nil, errors.New("a bad request")
	}
	c.issued++
	return &enrolv1.Issued{Chain: [][]byte{c.sign(csr.PublicKey, c.who).Raw}, Trust: c.trust}, nil
}

// listen serves joins until the test ends.
func (c *cluster) listen(t testing.TB) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.pair}, NextProtos: []string{enrolment.Protocol}})
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); c.hear(conn) }()
		}
	}()
	return l.Addr().String()
}

func (c *cluster) hear(conn net.Conn) {
	var request enrolv1.JoinRequest
	if enrolment.ReadFrame(conn, &request) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &enrolv1.JoinResponse{}
	issued, err := c.certify(request.GetRequest())
	if err != nil {
		response.Outcome = &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: err.Error()}}
	} else {
		if c.bend != nil {
			c.bend(&request, issued)
		}
		response.Outcome = &enrolv1.JoinResponse_Issued{Issued: issued}
	}
	_ = enrolment.WriteFrame(conn, response)
}

// Renew implements [Asker] without a network.
func (c *cluster) Renew(_ context.Context, request []byte) (*enrolv1.Issued, tls.ConnectionState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return nil, tls.ConnectionState{}, c.refuse
	}
	issued, err := c.certify(request)
	return issued, c.shown(), err
}

func (c *cluster) token(t testing.TB) enrolment.Token {
	t.Helper()
	token, err := enrolment.NewToken("0195c1f0-5f7e-4c3a-9d2b-7a1e4c5d6f70", enrolment.PinOf(c.root.cert))
	must(t, err)
	return token
}

func straight(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// joined makes a member without a network.
func (c *cluster) joined(t testing.TB, holdings Holdings, options Options) (*Folder, *Member) {
	t.Helper()
	f := At(filepath.Join(t.TempDir(), "cluster"))
	must(t, f.MakeRoom())
	key, text, request, err := newKey("")
	must(t, err)
	issued, err := c.certify(request)
	must(t, err)
	answer := &enrolment.Answer{Issued: issued, From: c.source.Identity(), TLS: c.shown()}
	_, _, err = f.settle(Wish{}, key, text, answer)
	must(t, err)
	source, err := f.Open(slog.New(slog.DiscardHandler))
	must(t, err)
	return f, Joined(f, source, holdings, options)
}

// kept is the Holdings of a test.
type kept struct {
	mu      sync.Mutex
	keys    []string // of every Rewrap
	former  [][]string
	fail    error
	erased  []Wiped
	present func() // looked at by each Rewrap
}

func (k *kept) Rewrap(key string, former []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, path := range append(slices.Clone(former), key) {
		if _, err := mtls.ReadKey(path); err != nil {
			return err
		}
	}
	if k.present != nil {
		k.present()
	}
	k.keys, k.former = append(k.keys, key), append(k.former, former)
	return k.fail
}

func (k *kept) Erase(order Wiped) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.erased = append(k.erased, order)
	return nil
}

// busy is a control plane node that asks for patience.
func busy(c *cluster, raw net.Conn) {
	conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{c.pair}, NextProtos: []string{enrolment.Protocol}})
	var request enrolv1.JoinRequest
	if enrolment.ReadFrame(conn, &request) != nil {
		return
	}
	_ = enrolment.WriteFrame(conn, &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: "busy", Again: true}}})
}
