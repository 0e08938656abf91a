package mtls_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// outcome is how a connection looked from both ends.
type outcome struct {
	server, client           error
	serverState, clientState tls.ConnectionState
}

// connect makes one real connection over loopback and exchanges a byte each way, so that a client of
// TLS 1.3, whose handshake ends before the server's verdict, learns it.
func connect(t *testing.T, server, client *tls.Config) (o outcome) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := listener.Accept()
		if err != nil {
			o.server = err
			return
		}
		conn := tls.Server(raw, server)
		o.server = converse(conn)
		o.serverState = conn.ConnectionState()
		_ = conn.Close()
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	o.client = converse(conn)
	o.clientState = conn.ConnectionState()
	_ = conn.Close()
	<-done
	return o
}

func converse(conn *tls.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := conn.Handshake(); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func controlPlane() mtlstest.Leaf {
	return mtlstest.Leaf{
		Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp-1"},
		DNS:      []string{"cp.example"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

func wantReason(t *testing.T, err error, want verdict.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want refusal %q", want)
	}
	if got := verdict.Explain(err); got.Reason != want {
		t.Fatalf("refused as %q (%v), want %q", got.Reason, err, want)
	}
}

func open(t *testing.T, files mtls.Files) *mtls.Source {
	t.Helper()
	source, err := mtls.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func write(t *testing.T, path string, data []byte) { t.Helper(); mtlstest.Write(t, path, data) }

func isRefusal(err error) bool {
	var refusal *verdict.Refusal
	return errors.As(err, &refusal)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
