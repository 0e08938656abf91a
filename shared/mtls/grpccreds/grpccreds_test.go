package grpccreds_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// lines is a log that a test may read while a server writes.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serve runs a gRPC server that answers health checks and notes who asked.
func serve(t *testing.T, source *mtls.Source, log io.Writer, asked chan<- identity.Identity) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.Creds(grpccreds.Server(source, slog.New(slog.NewTextHandler(log, nil)), identity.DataPlane)),
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			id, _, err := grpccreds.PeerOf(ctx)
			if err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			asked <- id
			return next(ctx, request)
		}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return listener.Addr().String()
}

func check(t *testing.T, address string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}

func TestServerLogsWhoWasRefusedAndWhy(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	controlPlane := mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}, DNS: []string{"cp.example"}}
	source, _, _ := ca.Source(t, controlPlane)
	var log lines
	asked := make(chan identity.Identity, 1)
	address := serve(t, source, &log, asked)

	node, _, _ := ca.Source(t, mtlstest.Leaf{})
	if err := check(t, address, grpccreds.Client(node, "cp.example", identity.ControlPlane)); err != nil {
		t.Fatal(err)
	}
	if id := <-asked; id.String() != "keepgate://data-plane/acme/prod/node-1" {
		t.Errorf("the server sees %v", id)
	}
	if log.String() != "" {
		t.Errorf("an accepted client is logged: %s", &log)
	}

	admin, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}})
	stranger, _, _ := other.Source(t, mtlstest.Leaf{})
	tests := []struct {
		name  string
		creds credentials.TransportCredentials
		log   string // of the server; "" when the client refuses
		err   string
	}{
		{"wrong role", grpccreds.Client(admin, "", identity.ControlPlane), `reason="wrong role"`, "bad certificate"},
		{"wrong CA, and the client says so", grpccreds.Client(stranger, "", identity.ControlPlane), "", "wrong CA"},
		{"wrong server name", grpccreds.Client(node, "cp.other.example", identity.ControlPlane), "", "wrong server name"},
		{"wrong role of the server", grpccreds.Client(node, "", identity.Admin), "", "wrong role"},
		{"no TLS", insecure.NewCredentials(), `reason="not TLS"`, ""},
		{"no certificate", credentials.NewTLS(anonymous(node)), `reason="no certificate"`, "certificate required"},
	}
	for _, test := range tests {
		err := check(t, address, test.creds)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: client error %v, want Unavailable with %q", test.name, err, test.err)
		}
		// The client may know before the server has written its line.
		for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), test.log) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if !strings.Contains(log.String(), test.log) {
			t.Errorf("%s: log has no %s:\n%s", test.name, test.log, &log)
		}
	}
	if !strings.Contains(log.String(), "remote=127.0.0.1:") {
		t.Errorf("no remote address in the log:\n%s", &log)
	}
}

func TestAFloodOfRefusalsIsLoggedAtAPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := mtlstest.NewCA(t, "cluster")
		source, _, _ := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}})
		var log lines
		creds := grpccreds.Server(source, slog.New(slog.NewTextHandler(&log, nil)), identity.DataPlane)
		handshake := func(said string) {
			near, far := net.Pipe()
			go func() {
				_, _ = far.Write([]byte(said))
				_ = far.Close()
			}()
			if _, _, err := creds.Clone().ServerHandshake(near); err == nil {
				t.Errorf("a connection that says %q was accepted", said)
			}
		}
		handshake("")
		if log.String() != "" {
			t.Errorf("who only looks whether it listens is logged: %s", &log)
		}
		for range 500 {
			handshake("GET /")
		}
		if n := strings.Count(log.String(), "\n"); n != 50 {
			t.Errorf("500 refusals at once gave %d log lines, want 50", n)
		}
		time.Sleep(300 * time.Millisecond) // the pace allows the next one
		handshake("GET /")
		if !strings.Contains(log.String(), "not_logged=450") {
			t.Errorf("the log does not say how many it left out:\n%s", &log)
		}
	})
}

func TestPeerOfRefusesOtherConnections(t *testing.T) {
	t.Parallel()
	if id, _, err := grpccreds.PeerOf(t.Context()); err == nil {
		t.Errorf("PeerOf without a connection = %v", id)
	}
}

func anonymous(source *mtls.Source) *tls.Config {
	config := source.Client("", identity.ControlPlane)
	config.GetClientCertificate = nil
	return config
}
