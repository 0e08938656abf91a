package grpccreds_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// joinable is a gRPC server that also echoes one line to whoever joins.
func joinable(t *testing.T, source *mtls.Source, roles ...identity.Role) (address string, joined *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	joined = &atomic.Int64{}
	join := func(conn net.Conn) {
		defer conn.Close()
		joined.Add(1)
		line := make([]byte, 5)
		if _, err := io.ReadFull(conn, line); err == nil {
			_, _ = conn.Write(line)
		}
	}
	server := grpc.NewServer(grpc.Creds(grpccreds.Joinable(source, slog.New(slog.DiscardHandler), join, roles...)))
	healthpb.RegisterHealthServer(server, health.NewServer())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	return listener.Addr().String(), joined
}

func dial(t *testing.T, address string, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	config.InsecureSkipVerify = true // what is shown is looked at by the test
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", address, config)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return conn, err
}

func TestWhoJoinsGetsNoFurther(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}})
	address, joined := joinable(t, source, identity.DataPlane)
	conn, err := dial(t, address, &tls.Config{NextProtos: []string{mtls.JoinProtocol}})
	if err != nil {
		t.Fatal(err)
	}
	shown := conn.ConnectionState().PeerCertificates
	if last := shown[len(shown)-1]; !last.Equal(ca.Cert) || conn.ConnectionState().Version != tls.VersionTLS13 {
		t.Errorf("it does not show the root: %d certificates", len(shown))
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "hello" {
		t.Errorf("answered %q, %v", line, err)
	}
	for name, config := range map[string]*tls.Config{
		"both protocols":       {NextProtos: []string{mtls.JoinProtocol, "h2"}},
		"joining second":       {NextProtos: []string{"h2", mtls.JoinProtocol}},
		"gRPC, no certificate": {NextProtos: []string{"h2"}},
		"no protocol":          {},
		"another protocol":     {NextProtos: []string{"keepgate-join/2"}},
	} {
		conn, err := dial(t, address, config)
		if err == nil { // the refusal of a client without a certificate comes after the handshake
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("%s: it may speak", name)
		}
	}
	if conn, err := dial(t, address, &tls.Config{NextProtos: []string{mtls.JoinProtocol}, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Errorf("joined over %x", conn.ConnectionState().Version)
	}
	if n := joined.Load(); n != 1 {
		t.Errorf("%d have joined, want 1", n)
	}
}

func TestNobodyJoinsWhereThatIsNotServed(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}})
	address := serve(t, source, io.Discard, make(chan identity.Identity, 1))
	if _, err := dial(t, address, &tls.Config{NextProtos: []string{mtls.JoinProtocol}}); err == nil {
		t.Error("somebody could join")
	}
}

// The roles share a listener; each service says whom it serves.
func TestSeveralRolesOnOneListener(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}})
	address, _ := joinable(t, source, identity.DataPlane, identity.KMS)
	for role, want := range map[identity.Role]codes.Code{identity.DataPlane: codes.OK, identity.KMS: codes.OK, identity.Admin: codes.Unavailable} {
		client, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: role}})
		if err := check(t, address, grpccreds.Client(client, "", identity.ControlPlane)); status.Code(err) != want {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// presented is a cache that has one session for whoever is dialled.
type presented struct{ session *tls.ClientSessionState }

func (p *presented) Get(string) (*tls.ClientSessionState, bool) { return p.session, p.session != nil }

func (p *presented) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		p.session = session
	}
}

// A ticket, also one that is as good as any, resumes nothing: whoever comes again is looked at again.
func TestTicketsResumeNothing(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	leaf := mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}}
	source, files, pair := ca.Source(t, leaf)
	node, _, nodePair := ca.Source(t, mtlstest.Leaf{})
	address, _ := joinable(t, source, identity.DataPlane)

	// The same certificate on a listener that gives tickets, so that the client has one of this very server.
	own, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	generous, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = generous.Close() })
	go func() {
		for {
			conn, err := generous.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("x")) // the handshake, and the ticket after it
		}
	}()
	cache := &presented{}
	config := func() *tls.Config {
		c := node.Client("", identity.ControlPlane)
		c.NextProtos, c.ClientSessionCache, c.SessionTicketsDisabled, c.VerifyConnection = []string{"h2"}, cache, false, nil
		return c
	}
	for _, resumed := range []bool{false, true} {
		conn, err := dial(t, generous.Addr().String(), config())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().DidResume; got != resumed {
			t.Fatalf("the generous listener resumed: %v, want %v", got, resumed)
		}
	}
	conn, err := dial(t, address, config())
	if err != nil {
		t.Fatalf("with a ticket that this server never gave: %v", err)
	}
	if conn.ConnectionState().DidResume {
		t.Error("the session was resumed")
	}
	cache.session = nil
	if conn, err = dial(t, address, config()); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // for as long a ticket could come
	_, _ = io.Copy(io.Discard, conn)
	if cache.session != nil {
		t.Error("a ticket was given")
	}

	mtlstest.Write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), nodePair))
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	if conn, err := dial(t, address, config()); err == nil {
		if _, err = conn.Read(make([]byte, 1)); err == nil {
			t.Error("a revoked one is let in")
		}
	}
}
