package backend_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/backend"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const patience = 30 * time.Second

// cluster is a control plane of several nodes, and a plugin's identity.
type cluster struct {
	pki    *wraptest.PKI
	kek    *wraptest.KEK
	source *mtls.Source
	files  mtls.Files
	nodes  []*wraptest.Node
}

func newCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	c := &cluster{pki: wraptest.NewPKI(t), kek: wraptest.NewKEK(t, "prod")}
	c.files = c.pki.Issue(t, identity.Identity{Role: identity.KMS, Name: "prod.master-1"})
	source, err := mtls.Open(c.files)
	if err != nil {
		t.Fatal(err)
	}
	c.source = source
	for range nodes {
		c.nodes = append(c.nodes, wraptest.Start(t, c.pki, c.kek, "cp-1"))
	}
	return c
}

func (c *cluster) endpoint(address string) backend.Endpoint {
	return backend.Endpoint{Address: address, Credentials: grpccreds.Client(c.source, "127.0.0.1", identity.ControlPlane)}
}

func (c *cluster) backend(t *testing.T, options backend.Options, more ...string) *backend.Backend {
	t.Helper()
	var endpoints []backend.Endpoint
	for _, n := range c.nodes {
		endpoints = append(endpoints, c.endpoint(n.Address))
	}
	for _, address := range more {
		endpoints = append(endpoints, c.endpoint(address))
	}
	b := backend.New(endpoints, options)
	t.Cleanup(b.Close)
	return b
}

// silent accepts connections and says nothing; dead does not even that.
func silent(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() }) // the kernel accepts, and nobody reads
	return socket.Addr().String()
}

func dead(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.Addr().String()
}

func (c *cluster) roundTrip(t *testing.T, b *backend.Backend) error {
	t.Helper()
	wrapped, err := b.Wrap(t.Context(), &wrapv1.WrapRequest{Uid: "u", Plaintext: []byte("seed")})
	if err != nil {
		return err
	}
	opened, err := b.Unwrap(t.Context(), &wrapv1.UnwrapRequest{Uid: "u", KeyId: wrapped.KeyId, Ciphertext: wrapped.Ciphertext})
	if err == nil && string(opened.Plaintext) != "seed" {
		err = errors.New("another plaintext")
	}
	return err
}

func TestNodesThatDoNotServeAreLeftForOneThatDoes(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	var elsewhere atomic.Int64
	b := c.backend(t, backend.Options{Timeout: 20 * time.Second, Observe: func(address, _ string, _ codes.Code, _ time.Duration) {
		if address != c.nodes[0].Address {
			elsewhere.Add(1)
		}
	}}, dead(t), silent(t), dead(t))
	if err := c.roundTrip(t, b); err != nil {
		t.Fatal(err)
	}
	if b.Node() != c.nodes[0].Address {
		t.Errorf("Node = %s", b.Node())
	}
	elsewhere.Store(0)
	for range 50 { // and with it it stays: nobody waits for the silent one again
		if err := c.roundTrip(t, b); err != nil {
			t.Fatal(err)
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("other nodes were asked %d times", n)
	}
}

func TestANodeThatFailsIsLeftWithinTheCall(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*wraptest.Node){
		"it ends":                 func(n *wraptest.Node) { n.End() },
		"it hangs":                func(n *wraptest.Node) { n.Hang() },
		"its keyring is away":     func(n *wraptest.Node) { n.Fail(codes.Unavailable) },
		"it is of an older kind":  func(n *wraptest.Node) { n.Fail(codes.Unimplemented) },
		"it has a fault":          func(n *wraptest.Node) { n.Fail(codes.Internal) },
		"it has too much to do":   func(n *wraptest.Node) { n.Fail(codes.ResourceExhausted) },
		"it does not know why":    func(n *wraptest.Node) { n.Fail(codes.Unknown) },
		"it does not believe us ": func(n *wraptest.Node) { n.Fail(codes.Unauthenticated) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3)
			b := c.backend(t, backend.Options{Timeout: 12 * time.Second})
			for range 2 {
				if err := c.roundTrip(t, b); err != nil {
					t.Fatal(err)
				}
				for _, n := range c.nodes {
					if n.Address == b.Node() {
						fail(n)
					}
				}
			}
			if err := c.roundTrip(t, b); err != nil {
				t.Errorf("with one node left: %v", err)
			}
		})
	}
}

// What a node refuses for good is not asked of others.
func TestRefusalsAreFinal(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	b := c.backend(t, backend.Options{Timeout: patience})
	if _, err := b.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	for code, kind := range map[codes.Code]fault.Kind{
		codes.NotFound: fault.NotFound, codes.FailedPrecondition: fault.Conflict, codes.InvalidArgument: fault.Invalid,
	} {
		before := 0
		for _, n := range c.nodes {
			n.Fail(code)
			before += n.Calls()
		}
		_, err := b.Unwrap(t.Context(), &wrapv1.UnwrapRequest{KeyId: "k", Ciphertext: []byte("c")})
		after := 0
		for _, n := range c.nodes {
			after += n.Calls()
		}
		if fault.KindOf(err) != kind || after != before+1 {
			t.Errorf("%v: Unwrap = %v after %d calls, want kind %v after one", code, err, after-before, kind)
		}
	}
}

// A node whose own files do not admit the plugin is no reason not to ask those whose do.
func TestANodeThatDoesNotAdmitIsLeft(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	b := c.backend(t, backend.Options{Timeout: patience})
	for i := range c.nodes {
		if _, err := b.Describe(t.Context()); err != nil {
			t.Fatalf("with %d nodes that do not admit it: %v", i, err)
		}
		for _, n := range c.nodes {
			if n.Address == b.Node() {
				n.Fail(codes.PermissionDenied)
			}
		}
	}
	if _, err := b.Describe(t.Context()); fault.KindOf(err) != fault.Denied {
		t.Errorf("with none that admits it: %v", err)
	}
	c.nodes[1].Fail(codes.Unavailable)
	if _, err := b.Describe(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("with one that is away: %v", err)
	}
}

func TestAnOutageNamesEveryNodeAndHeals(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	var attempts atomic.Int64
	b := c.backend(t, backend.Options{Timeout: 2 * time.Second, Observe: func(string, string, codes.Code, time.Duration) { attempts.Add(1) }})
	if err := c.roundTrip(t, b); err != nil || attempts.Load() != 2 {
		t.Fatalf("%v after %d attempts", err, attempts.Load())
	}
	for _, n := range c.nodes {
		n.End()
	}
	err := c.roundTrip(t, b)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), c.nodes[0].Address) || !strings.Contains(err.Error(), c.nodes[1].Address) {
		t.Errorf("without nodes: %v", err)
	}
	c.nodes[1].Begin(t)
	for end := time.Now().Add(patience); c.roundTrip(t, b) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came back")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Describe(ctx); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a call of one who has gone: %v", err)
	}
}

// Whoever is dialled first is drawn, so that many plugins do not come to one node.
func TestTheFirstNodeIsDrawn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	first := map[string]int{}
	for range 60 {
		b := c.backend(t, backend.Options{Timeout: patience})
		if _, err := b.Describe(t.Context()); err != nil {
			t.Fatal(err)
		}
		first[b.Node()]++
	}
	if len(first) != 3 {
		t.Errorf("first were %v", first)
	}
}

// Only a control plane is spoken with, and only a certificate of role kms is heard.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	stranger := backend.New([]backend.Endpoint{{
		Address: c.nodes[0].Address, Credentials: grpccreds.Client(c.source, "127.0.0.1", identity.DataPlane),
	}}, backend.Options{Timeout: patience})
	defer stranger.Close()
	if _, err := stranger.Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "role") {
		t.Errorf("another role was taken for a control plane: %v", err)
	}
	gate := c.pki.Open(t, identity.Identity{Role: identity.DataPlane, Environment: "default", Name: "edge-1"})
	other := backend.New([]backend.Endpoint{{Address: c.nodes[0].Address, Credentials: grpccreds.Client(gate, "127.0.0.1", identity.ControlPlane)}}, backend.Options{Timeout: patience})
	defer other.Close()
	if _, err := other.Describe(t.Context()); fault.KindOf(err) != fault.Denied {
		t.Errorf("a data plane is served: %v", err)
	}
}

// A node whose certificate was taken back is left at the next Describe, although its connection stands.
func TestANodeThatIsNotBelievedAnyMore(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	var disbelieved atomic.Bool
	b := c.backend(t, backend.Options{Timeout: patience, Believe: func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			t.Error("no certificate is shown to the judge")
		}
		if disbelieved.Load() {
			return errors.New("revoked")
		}
		return nil
	}})
	if _, err := b.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	disbelieved.Store(true)
	if _, err := b.Describe(t.Context()); fault.KindOf(err) != fault.Unavailable || strings.Count(err.Error(), "revoked") != 2 {
		t.Errorf("Describe = %v", err)
	}
	disbelieved.Store(false)
	if _, err := b.Describe(t.Context()); err != nil {
		t.Errorf("believed again: %v", err)
	}
}

// A renewed certificate is shown from the next call on; calls that are under way end on the connection of the former one.
func TestARenewedCertificateIsShown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	b := c.backend(t, backend.Options{Timeout: patience, Identity: func() string { return c.source.Identity().Serial }})
	if _, err := b.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := c.source.Identity().Serial
	c.nodes[0].Hang()
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.roundTrip(t, b); err != nil {
			t.Errorf("the call under way: %v", err)
		}
	})
	for end := time.Now().Add(patience); c.nodes[0].Waiting() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no call came")
		}
	}
	c.pki.Issue(t, identity.Identity{Role: identity.KMS, Name: "prod.master-1"})
	if err := c.source.Reload(); err != nil {
		t.Fatal(err)
	}
	after := c.source.Identity().Serial
	if after == before {
		t.Fatal("nothing was renewed")
	}
	c.nodes[0].Release()
	group.Wait()
	if _, err := b.Describe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shown := c.nodes[0].Serials(); shown[len(shown)-1] != after || shown[0] != before {
		t.Errorf("the control plane saw %v, want %s and last %s", shown, before, after)
	}
	b.Close()
	if _, err := b.Describe(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after Close: %v", err)
	}
}
