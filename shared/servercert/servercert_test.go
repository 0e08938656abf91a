package servercert_test

import (
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/servercert"
)

// TestAReloadShowsAtTheNextHandshake: another certificate is shown from then on, and one that cannot be used never is.
func TestAReloadShowsAtTheNextHandshake(t *testing.T) {
	t.Parallel()
	old, renewed := certificate(t), certificate(t)
	now, fault := old, error(nil)
	holder, err := servercert.New(func() (tls.Certificate, error) { return now, fault })
	if err != nil {
		t.Fatal(err)
	}
	socket, err := tls.Listen("tcp", "127.0.0.1:0", holder.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		for {
			conn, err := socket.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			defer conn.Close()
		}
	}()
	shows := func(want tls.Certificate) {
		t.Helper()
		conn, err := tls.Dial("tcp", socket.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(want.Leaf) || !holder.Leaf().Equal(want.Leaf) {
			t.Errorf("serial %v is shown, want %v", got.SerialNumber, want.Leaf.SerialNumber)
		}
	}
	reload := func(wantChanged bool, wantErr error) {
		t.Helper()
		if changed, err := holder.Reload(); changed != wantChanged || !errors.Is(err, wantErr) {
			t.Errorf("Reload = %t, %v; want %t, %v", changed, err, wantChanged, wantErr)
		}
	}
	shows(old)
	reload(false, nil)
	now, fault = tls.Certificate{}, net.ErrClosed
	reload(false, net.ErrClosed)
	shows(old)
	fault = nil
	if _, err := holder.Reload(); err == nil {
		t.Error("an empty certificate was taken")
	}
	shows(old)
	now = renewed
	reload(true, nil)
	shows(renewed)
}

func TestNewNeedsACertificate(t *testing.T) {
	t.Parallel()
	if _, err := servercert.New(func() (tls.Certificate, error) { return tls.Certificate{}, net.ErrClosed }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("New = %v", err)
	}
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	cert, _, err := selfsigned.Load(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
