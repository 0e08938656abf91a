package upstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// TestMain fails when the tests leave a goroutine of the data plane or of a connection behind.
func TestMain(m *testing.M) {
	code := m.Run()
	left := leaked()
	for start := time.Now(); len(left) > 0 && time.Since(start) < patience; left = leaked() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines left:\n%s\n", len(left), strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

func leaked() (stacks []string) {
	buffer := make([]byte, 4<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		if (strings.Contains(stack, "/dataplane/") || strings.Contains(stack, "net/http.")) && !strings.Contains(stack, "upstream_test.TestMain") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// patience is how long something may take that has to happen.
const patience = 30 * time.Second

var serial atomic.Int64

// pair is a certificate and its key.
type pair struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue makes a certificate below by; nil makes it its own authority.
func issue(t testing.TB, by *pair, template x509.Certificate) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(serial.Add(1))
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := &template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{made, key}
}

func authority(t testing.TB, by *pair, name string) *pair {
	t.Helper()
	return issue(t, by, x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true})
}

func named(t testing.TB, by *pair, name string) *pair {
	t.Helper()
	return issue(t, by, x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}})
}

// tls is the certificate with those above it that are to be shown.
func (p *pair) tls(above ...*pair) *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{p.Raw}, PrivateKey: p.key, Leaf: p.Certificate}
	for _, a := range above {
		c.Certificate = append(c.Certificate, a.Raw)
	}
	return c
}

// write puts the pair into files of a folder.
func (p *pair) write(t testing.TB, folder string) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: p.Raw}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func pool(pairs ...*pair) *x509.CertPool {
	p := x509.NewCertPool()
	for _, one := range pairs {
		p.AddCert(one.Certificate)
	}
	return p
}

// newPools makes Pools that run as long as the test.
func newPools(t testing.TB, options client.Options) *upstream.Pools {
	t.Helper()
	return running(t, upstream.NewPools(&wire.Blocks{}, options))
}

func running(t testing.TB, pools *upstream.Pools) *upstream.Pools {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = pools.Run(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
	return pools
}

// answer is what came of a request.
type answer struct {
	status int
	body   string
	header map[string]string
	err    error
}

// ask sends one GET and reads the answer whole.
func ask(p *upstream.Pool, head client.Head) answer {
	ex := new(exchange.Exchange)
	ex.Reset()
	ex.Request.Method, ex.Start = "GET", time.Now()
	if head.Target == "" {
		head.Target = "/"
	}
	if head.Host == "" {
		head.Host = "a.test"
	}
	return finish(ex, p.RoundTrip(context.Background(), ex, &head, patience))
}

func finish(ex *exchange.Exchange, err error) answer {
	if err != nil {
		return answer{err: err}
	}
	r := &ex.Response
	a := answer{status: r.Status, header: map[string]string{}, body: string(r.Body)}
	for name, value := range r.Header.All() {
		a.header[name] = value
	}
	if r.Stream != nil {
		data, err := io.ReadAll(r.Stream)
		a.body, a.err = string(data), err
		_ = r.Stream.Close()
		r.Stream = nil
	}
	return a
}

// gate is a proxy that sends everything to one pool.
type gate struct {
	pool    *upstream.Pool
	head    client.Head
	retries int

	mu   sync.Mutex
	errs []error // guarded by mu
}

// Serve implements [exchange.Handler].
func (g *gate) Serve(ex *exchange.Exchange) {
	head := g.head
	head.Target, head.Host = ex.Request.Target, ex.Request.Host
	var err error
	for try := 0; ; try++ {
		err = g.pool.RoundTrip(ex.Context, ex, &head, patience)
		failure, ok := err.(*client.Error)
		if !ok || try == g.retries || !failure.Repeatable(ex) {
			break
		}
	}
	if err != nil {
		g.mu.Lock()
		g.errs = append(g.errs, err)
		g.mu.Unlock()
		ex.Answer(502, "text/plain", nil)
	}
}

// Finish implements [exchange.Handler].
func (g *gate) Finish(*exchange.Exchange) {}

func (g *gate) failures() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]error(nil), g.errs...)
}

// serve puts the standard engine in front of the gate and returns its address.
func (g *gate) serve(t testing.TB) string {
	t.Helper()
	server := std.New(g, std.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		wg.Wait()
	})
	return l.Addr().String()
}

func addrOf(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
