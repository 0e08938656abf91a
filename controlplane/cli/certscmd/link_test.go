package certscmd_test

import (
	"crypto/tls"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

func openNode(t *testing.T, dir, name string) *mtls.Source {
	t.Helper()
	source, err := mtls.Open(mtls.Files{
		Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"),
		CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "crl.pem"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// link connects over loopback and returns the server's verdict.
func link(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	answer := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			answer <- err
			return
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = io.WriteString(conn, "k")
		answer <- err
		_ = conn.Close()
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err == nil {
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
	}
	return <-answer
}

// TestFromInitToRevocation walks the way of a first run: the files that the commands make carry a link,
// and a revocation ends it as soon as the CRL is read.
func TestFromInitToRevocation(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	mustRun(t, "issue", "edge-1", "--dir", dir)
	mustRun(t, "issue", "edge-2", "--dir", dir)
	server, one, two := openNode(t, dir, "control-plane"), openNode(t, dir, "edge-1"), openNode(t, dir, "edge-2")
	listening := server.Server(identity.DataPlane)
	for _, node := range []*mtls.Source{one, two} {
		if err := link(t, listening, node.Client("localhost", identity.ControlPlane)); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "revoke", "edge-1", "--dir", dir)
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	refusal := verdict.Explain(link(t, listening, one.Client("localhost", identity.ControlPlane)))
	if refusal == nil || refusal.Reason != verdict.Revoked {
		t.Errorf("the revoked node: %v", refusal)
	}
	if err := link(t, listening, two.Client("localhost", identity.ControlPlane)); err != nil {
		t.Errorf("the other node: %v", err)
	}
	if err := link(t, two.Server(identity.DataPlane), two.Client("", identity.ControlPlane)); err == nil {
		t.Error("a data plane's certificate serves as a control plane's")
	}
}
