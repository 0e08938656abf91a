// Package enroltest is a control plane that certifies data planes, for tests.
package enroltest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// Authority certifies.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
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

// NewAuthority makes one.
func NewAuthority(t testing.TB, name string) *Authority {
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
	return &Authority{cert, key}
}

// Issue certifies a key as somebody for so long. The certificate begins before that, as those of a control plane do.
func (a *Authority) Issue(t testing.TB, public crypto.PublicKey, id identity.Identity, life time.Duration) *x509.Certificate {
	t.Helper()
	uri, err := url.Parse(id.String())
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: id.Name}, URIs: []*url.URL{uri}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-5 * time.Minute), NotAfter: time.Now().Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if id.Role == identity.ControlPlane {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, public, a.Key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return cert
}

// List is the authority's list of revoked certificates.
func (a *Authority) List(t testing.TB, number int64, revoked ...*x509.Certificate) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, cert := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Cert, a.Key)
	must(t, err)
	return der
}

// Bundle believes some authorities, without lists.
func Bundle(sequence uint64, authorities ...*Authority) *enrolv1.Trust {
	b := &enrolv1.Trust{Sequence: sequence}
	for _, a := range authorities {
		b.Authorities = append(b.Authorities, a.Cert.Raw)
	}
	return b
}

// Cluster is a control plane of one node: it lets everybody join, and renews.
type Cluster struct {
	Root   *Authority
	Chain  []*x509.Certificate // of the control plane's node, the root last
	Source *mtls.Source        // the node
	Pair   tls.Certificate

	Mu     sync.Mutex
	Trust  *enrolv1.Trust                                              // what it tells; guarded by Mu
	Life   time.Duration                                               // of what it issues; guarded by Mu
	Bend   func(*enrolv1.JoinRequest, *enrolv1.Issued)                 // guarded by Mu
	Who    identity.Identity                                           // whom it certifies; guarded by Mu
	Refuse error                                                       // of renewals; guarded by Mu
	Sign   func(crypto.PublicKey, identity.Identity) *x509.Certificate // guarded by Mu
	Issued int                                                         // guarded by Mu
}

// Edge is the identity of a data plane.
func Edge(name string) identity.Identity {
	return identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: name}
}

// New makes a cluster.
func New(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{Root: NewAuthority(t, "root"), Life: time.Hour, Who: Edge("edge-1")}
	c.Trust = Bundle(5, c.Root)
	c.Sign = func(public crypto.PublicKey, id identity.Identity) *x509.Certificate {
		return c.Root.Issue(t, public, id, c.Life)
	}
	key, text, err := privatekey.New()
	must(t, err)
	leaf := c.Root.Issue(t, key.Public(), identity.Identity{Role: identity.ControlPlane, Organisation: "acme", Name: "cp"}, 10*365*24*time.Hour)
	c.Chain = []*x509.Certificate{leaf, c.Root.Cert}
	c.Pair = tls.Certificate{Certificate: [][]byte{leaf.Raw, c.Root.Cert.Raw}, PrivateKey: key}
	dir := t.TempDir()
	text.Reveal(func(data []byte) { must(t, os.WriteFile(filepath.Join(dir, "key"), data, 0o600)) })
	must(t, os.WriteFile(filepath.Join(dir, "crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "ca"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Root.Cert.Raw}), 0o600))
	c.Source, err = mtls.Open(mtls.Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")})
	must(t, err)
	return c
}

// Shown is how the control plane's node proves itself.
func (c *Cluster) Shown() tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, PeerCertificates: c.Chain}
}

// Certify answers a request, as a join or a renewal does.
func (c *Cluster) Certify(request []byte) (*enrolv1.Issued, error) {
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil || csr.CheckSignature() != nil {
		return nil, errors.New("a bad request")
	}
	c.Issued++
	return &enrolv1.Issued{Chain: [][]byte{c.Sign(csr.PublicKey, c.Who).Raw}, Trust: c.Trust}, nil
}

// Listen serves joins until the test ends.
func (c *Cluster) Listen(t testing.TB) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.Pair}, NextProtos: []string{enrolment.Protocol}})
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

func (c *Cluster) hear(conn net.Conn) {
	var request enrolv1.JoinRequest
	if enrolment.ReadFrame(conn, &request) != nil {
		return
	}
	c.Mu.Lock()
	defer c.Mu.Unlock()
	response := &enrolv1.JoinResponse{}
	issued, err := c.Certify(request.GetRequest())
	if err != nil {
		response.Outcome = &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: err.Error()}}
	} else {
		if c.Bend != nil {
			c.Bend(&request, issued)
		}
		response.Outcome = &enrolv1.JoinResponse_Issued{Issued: issued}
	}
	_ = enrolment.WriteFrame(conn, response)
}

// Renew implements enrol.Asker without a network.
func (c *Cluster) Renew(_ context.Context, request []byte) (*enrolv1.Issued, tls.ConnectionState, error) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if c.Refuse != nil {
		return nil, tls.ConnectionState{}, c.Refuse
	}
	issued, err := c.Certify(request)
	return issued, c.Shown(), err
}

// Token lets somebody join.
func (c *Cluster) Token(t testing.TB) enrolment.Token {
	t.Helper()
	token, err := enrolment.NewToken("0195c1f0-5f7e-4c3a-9d2b-7a1e4c5d6f70", enrolment.PinOf(c.Root.Cert))
	must(t, err)
	return token
}

// Straight dials.
func Straight(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// Busy is a control plane node that asks for patience.
func Busy(c *Cluster, raw net.Conn) {
	conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{c.Pair}, NextProtos: []string{enrolment.Protocol}})
	var request enrolv1.JoinRequest
	if enrolment.ReadFrame(conn, &request) != nil {
		return
	}
	_ = enrolment.WriteFrame(conn, &enrolv1.JoinResponse{Outcome: &enrolv1.JoinResponse_Refusal{Refusal: &enrolv1.Refusal{Reason: "busy", Again: true}}})
}

// Wipe is an order of this cluster's control plane.
func (c *Cluster) Wipe(t testing.TB, id identity.Identity, serial string) *enrolv1.SignedWipe {
	t.Helper()
	order, err := enrolment.SignWipe(c.Source, &enrolv1.Wipe{Identity: id.String(), Serial: serial, RevokedAt: time.Now().Unix(), Reason: "stolen"})
	must(t, err)
	return order
}
