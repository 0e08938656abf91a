package bus_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

const (
	cluster  = "8a5c2f0e-0000-4000-8000-000000000001"
	patience = 30 * time.Second
)

// journal is a log that a test reads while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// node is a running bus with an embedded server.
type node struct {
	*bus.Bus
	log    *journal
	source *mtls.Source
	files  mtls.Files
	pair   mtlstest.Pair
	stop   func()
}

func leaf(name string) mtlstest.Leaf {
	return mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: name}}
}

func start(t *testing.T, ca *mtlstest.CA, l mtlstest.Leaf, routes ...string) *node {
	t.Helper()
	source, files, pair := ca.Source(t, l)
	n := &node{source: source, files: files, pair: pair}
	n.begin(t, "127.0.0.1:0", routes...)
	return n
}

func (n *node) begin(t *testing.T, listen string, routes ...string) {
	t.Helper()
	n.log = &journal{}
	b, err := bus.Open(t.Context(), bus.Config{
		Cluster: cluster, Node: n.source.Identity().Name, Log: n.log.logger(),
		Embedded: &bus.Embedded{Listen: listen, Routes: routes, Source: n.source},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.run(t, b)
}

func (n *node) run(t *testing.T, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	var once sync.Once
	n.Bus, n.stop = b, func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		})
	}
	t.Cleanup(n.stop)
}

func await(t *testing.T, what string, until func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// hears says something at from until to has heard it.
func hears(t *testing.T, from, to *node) {
	t.Helper()
	subject := fmt.Sprintf("keepgate.test.%s.%s", from.source.Identity().Name, to.source.Identity().Name)
	heard := make(chan []byte, 1)
	cancel, err := to.Subscribe(subject, func(data []byte) {
		select {
		case heard <- data:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	await(t, subject+"; log of "+to.log.String(), func() bool {
		_ = from.Publish(subject, []byte("word"))
		select {
		case data := <-heard:
			return string(data) == "word"
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
}

func TestNodesFormACluster(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one := start(t, ca, leaf("cp-1"))
	two := start(t, ca, leaf("cp-2"), one.RouteAddress())
	hears(t, one, two)
	hears(t, two, one)
	// The third knows of the second alone, and of itself; the servers tell each other the rest.
	three := start(t, ca, leaf("cp-3"), two.RouteAddress())
	three.SetRoutes([]string{three.RouteAddress(), two.RouteAddress()})
	hears(t, three, one)
	hears(t, one, three)
	await(t, "every node has two links", func() bool {
		return one.Status().Routes == 2 && two.Status().Routes == 2 && three.Status().Routes == 2
	})
	for _, n := range []*node{one, two, three} {
		if !n.Connected() || !n.Status().Embedded {
			t.Errorf("Status = %+v", n.Status())
		}
		if text := n.log.String(); strings.Contains(text, "level=WARN") || strings.Contains(text, "level=ERROR") {
			t.Errorf("noise in the log of %s: %s", n.source.Identity().Name, text)
		}
	}
}

func TestRoutesAreSetAtRunTime(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one, two := start(t, ca, leaf("cp-1")), start(t, ca, leaf("cp-2"))
	two.SetRoutes([]string{"nonsense"})
	if !strings.Contains(two.log.String(), "not host:port") {
		t.Errorf("log = %s", two.log)
	}
	two.SetRoutes([]string{"nonsense too", one.RouteAddress()})
	hears(t, one, two)
	two.SetRoutes([]string{one.RouteAddress(), "127.0.0.1:1"})
	hears(t, two, one) // a link that stands is not disturbed
	two.SetRoutes(nil)
	await(t, "the link is cut", func() bool { return two.Status().Routes == 0 })
}

func TestAnotherClusterIsNotLinked(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one := start(t, ca, leaf("cp-1"))
	source, _, _ := ca.Source(t, leaf("cp-2"))
	log := &journal{}
	b, err := bus.Open(t.Context(), bus.Config{
		Cluster: "another", Node: "cp-2", Log: log.logger(),
		Embedded: &bus.Embedded{Listen: "127.0.0.1:0", Routes: []string{one.RouteAddress()}, Source: source},
	})
	if err != nil {
		t.Fatal(err)
	}
	(&node{}).run(t, b)
	await(t, "the refusal is logged", func() bool {
		return strings.Contains(log.String()+one.log.String(), "does not match")
	})
	if one.Status().Routes+b.Status().Routes != 0 {
		t.Error("nodes of two clusters are linked")
	}
}

func TestRenewalIsPickedUp(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one, two := start(t, ca, leaf("cp-1")), start(t, ca, leaf("cp-2"))
	renewed := ca.Issue(t, leaf("cp-1"))
	mtlstest.Write(t, one.files.Cert, renewed.CertPEM)
	mtlstest.Write(t, one.files.Key, renewed.KeyPEM)
	if err := one.source.Reload(); err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", one.RouteAddress(), two.source.Client("", identity.ControlPlane))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	if id, err := mtls.PeerOf(state); err != nil || id.Serial != identity.SerialText(renewed.Cert.SerialNumber) {
		t.Errorf("the route port shows %v, %v", id, err)
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("the route port speaks %s", tls.VersionName(state.Version))
	}
	// The old certificate may now be revoked: nobody is cut off.
	two.SetRoutes([]string{one.RouteAddress()})
	hears(t, one, two)
	mtlstest.Write(t, two.files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), one.pair))
	if err := two.source.Reload(); err != nil {
		t.Fatal(err)
	}
	hears(t, one, two)
}

func TestRestart(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	one := start(t, ca, leaf("cp-1"))
	two := start(t, ca, leaf("cp-2"), one.RouteAddress())
	hears(t, one, two)
	address := one.RouteAddress()
	one.stop()
	await(t, "the link is noticed to be gone", func() bool { return two.Status().Routes == 0 })
	if err := two.Publish("keepgate.test", []byte("nobody hears")); err != nil || !two.Connected() {
		t.Errorf("Publish = %v", err)
	}
	one.begin(t, address)
	hears(t, one, two)
	hears(t, two, one)
	if strings.Count(two.log.String(), "Error trying to connect") > 2 {
		t.Errorf("a node that is away fills the log: %s", two.log)
	}
}

// TestClientPortIsClosed: the port that nats-server cannot do without lets nobody in.
func TestClientPortIsClosed(t *testing.T) {
	t.Parallel()
	one := start(t, mtlstest.NewCA(t, "cluster"), leaf("cp-1"))
	address := one.ClientAddress()
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Fatalf("the client port is %s", address)
	}
	stranger, _ := seed(t)
	option, err := nats.NkeyOptionFromSeed(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]nats.Option{"nothing": nil, "an nkey": {option}, "a token": {nats.Token("x")}} {
		conn, err := nats.Connect("nats://"+address, options...)
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("with %s Connect = %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, _, _ := ca.Source(t, leaf("cp-1"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	tests := map[string]struct {
		embedded bus.Embedded
		says     string
	}{
		"a port that is taken": {bus.Embedded{Listen: taken.Addr().String()}, "address already in use"},
		"no port":              {bus.Embedded{Listen: "127.0.0.1"}, "host:port"},
		"a bad route":          {bus.Embedded{Listen: "127.0.0.1:0", Routes: []string{"nats://x:1"}}, "nats_cluster_routes: "},
		"an open route":        {bus.Embedded{Listen: "127.0.0.1:0", Routes: []string{"::1:8006"}}, "nats_cluster_routes: \"::1:8006\" is not host:port: write an IPv6 address in brackets"},
		"a route to anywhere":  {bus.Embedded{Listen: "127.0.0.1:0", Routes: []string{"[::]:8006"}}, "nats_cluster_routes: "},
		"an open address":      {bus.Embedded{Listen: "::1"}, "nats_cluster_listen: \"::1\" is not host:port: write an IPv6 address in brackets"},
		"another's address":    {bus.Embedded{Listen: "[2001:db8::1]:0"}, "cannot assign requested address"},
		"nowhere to be found":  {bus.Embedded{Listen: "[::1]:0", Advertise: "[::]:8006"}, "nats_cluster_advertise: "},
		"no host to be found":  {bus.Embedded{Listen: "[::1]:0", Advertise: ":8006"}, "nats_cluster_advertise: "},
		"a bad advertisement":  {bus.Embedded{Listen: "127.0.0.1:0", Advertise: "x"}, "nats_cluster_advertise"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.embedded.Source = source
			_, err := bus.Open(t.Context(), bus.Config{Cluster: cluster, Node: "cp-1", Embedded: &test.embedded})
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v, want %q", err, test.says)
			}
		})
	}
	if _, err := bus.Open(t.Context(), bus.Config{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Open of nothing = %v", err)
	}
}

// TestNothingIsLeft is not parallel: no other test's goroutines run meanwhile.
func TestNothingIsLeft(t *testing.T) {
	ca := mtlstest.NewCA(t, "cluster")
	one := start(t, ca, leaf("cp-1"))
	two := start(t, ca, leaf("cp-2"), one.RouteAddress(), "127.0.0.1:1")
	hears(t, one, two)
	one.stop()
	two.stop()
	await(t, "every goroutine ends", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "nats-io/") || strings.Contains(stack, "peer/bus.(") {
				t.Log(stack)
				return false
			}
		}
		return true
	})
}
