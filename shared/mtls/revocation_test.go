package mtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// resumable gives a server configuration the tickets that it does not have by itself, under one key for
// all time: the worst case for a check that resumption would skip.
func resumable(server *tls.Config) *tls.Config {
	current := server.GetConfigForClient
	server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := current(hello)
		if err != nil {
			return nil, err
		}
		config.SessionTicketsDisabled = false
		config.SetSessionTicketKeys([][32]byte{{1}})
		return config, nil
	}
	return server
}

func TestRevokedClientIsRefusedFreshAndResumed(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, files, _ := ca.Source(t, controlPlane())
	client, _, pair := ca.Source(t, mtlstest.Leaf{})
	listening := resumable(server.Server(identity.DataPlane))
	dialling := client.Client("", identity.ControlPlane)
	dialling.SessionTicketsDisabled = false
	dialling.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	dialling.ServerName = "cp.example" // the cache's key

	first := connect(t, listening, dialling)
	again := connect(t, listening, dialling)
	if first.server != nil || again.server != nil || !again.serverState.DidResume {
		t.Fatalf("before: %v, %v, resumed %v; want a resumed session to test with", first.server, again.server, again.serverState.DidResume)
	}
	write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	resumed := connect(t, listening, dialling)
	wantReason(t, resumed.server, verdict.Revoked)
	if !strings.Contains(resumed.server.Error(), identity.SerialText(pair.Cert.SerialNumber)) {
		t.Errorf("%v does not name the serial", resumed.server)
	}
	if !resumed.serverState.DidResume {
		t.Error("the refused session was not a resumed one, so this test shows nothing")
	}
	wantReason(t, connect(t, listening, client.Client("", identity.ControlPlane)).server, verdict.Revoked)
	wantReason(t, server.Check(first.serverState, identity.DataPlane), verdict.Revoked)
}

func TestNoSessionIsResumed(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	client, _, _ := ca.Source(t, mtlstest.Leaf{})
	dialling := client.Client("cp.example", identity.ControlPlane)
	dialling.SessionTicketsDisabled = false
	dialling.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for range 2 {
		o := connect(t, server.Server(identity.DataPlane), dialling)
		if o.server != nil || o.serverState.DidResume {
			t.Fatalf("server: %v, resumed %v", o.server, o.serverState.DidResume)
		}
	}
}

func TestRevokedServerIsRefused(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, pair := ca.Source(t, controlPlane())
	client, files, _ := ca.Source(t, mtlstest.Leaf{})
	write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
	if err := client.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, connect(t, server.Server(identity.DataPlane), client.Client("", identity.ControlPlane)).client, verdict.Revoked)
}

func TestRolledCA(t *testing.T) {
	t.Parallel()
	before, after := mtlstest.NewCA(t, "2025"), mtlstest.NewCA(t, "2026")
	server, files, _ := before.Source(t, controlPlane())
	oldNode, _, _ := before.Source(t, mtlstest.Leaf{})
	newPair := after.Issue(t, mtlstest.Leaf{})
	newNode, err := tls.X509KeyPair(newPair.CertPEM, newPair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	dialling := &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &newNode, nil // whatever CAs the server names
	}}
	listening := server.Server(identity.DataPlane)
	wantReason(t, connect(t, listening, dialling).server, verdict.UnknownCA)

	write(t, files.CA, bytes.Join([][]byte{before.PEM, after.PEM}, nil))
	if err := server.Reload(); err == nil || !strings.Contains(err.Error(), `CA "CN=2026" has no CRL`) {
		t.Fatalf("Reload = %v, want the new CA's CRL asked for", err)
	}
	lists := [][]byte{before.CRL(t, 1, time.Now().Add(time.Hour)), after.CRL(t, 1, time.Now().Add(time.Hour))}
	write(t, files.CRL, bytes.Join(lists, nil))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	o := connect(t, listening, dialling)
	old := connect(t, listening, oldNode.Client("", identity.ControlPlane))
	if o.server != nil || old.server != nil {
		t.Fatalf("with both CAs: new node %v, old node %v", o.server, old.server)
	}
	// The old CA goes, the server's own certificate first.
	pair := after.Issue(t, controlPlane())
	write(t, files.Cert, pair.CertPEM)
	write(t, files.Key, pair.KeyPEM)
	write(t, files.CA, after.PEM)
	write(t, files.CRL, lists[1])
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, server.Check(old.serverState, identity.DataPlane), verdict.UnknownCA)
	if err := server.Check(o.serverState, identity.DataPlane); err != nil {
		t.Fatal(err)
	}
}

// TestIntermediateCA shows that a chain is checked link by link: an issuer whose CRL nobody has, and an
// intermediate that is revoked itself, let nobody in.
func TestIntermediateCA(t *testing.T) {
	t.Parallel()
	root := mtlstest.NewCA(t, "root")
	middle := root.Intermediate(t, "middle")
	server, files, _ := root.Source(t, controlPlane())
	pair := middle.Issue(t, mtlstest.Leaf{})
	state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{pair.Cert, middle.Cert}}
	wantReason(t, server.Check(state, identity.DataPlane), verdict.RevocationUnknown)

	soon := time.Now().Add(time.Hour)
	write(t, files.CA, bytes.Join([][]byte{root.PEM, middle.PEM}, nil))
	write(t, files.CRL, bytes.Join([][]byte{root.CRL(t, 1, soon), middle.CRL(t, 1, soon)}, nil))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := server.Check(state, identity.DataPlane); err != nil {
		t.Fatal(err)
	}
	revoked := root.CRL(t, 2, soon, mtlstest.Pair{Cert: middle.Cert})
	write(t, files.CRL, bytes.Join([][]byte{revoked, middle.CRL(t, 1, soon)}, nil))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, server.Check(state, identity.DataPlane), verdict.Revoked)
	state.PeerCertificates = state.PeerCertificates[:1] // the CA file has the intermediate anyway
	wantReason(t, server.Check(state, identity.DataPlane), verdict.Revoked)
}

func TestCheckWantsTLS13(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	state := tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: parse(t, ca.Issue(t, mtlstest.Leaf{}))}
	wantReason(t, server.Check(state, identity.DataPlane), verdict.WrongTLSVersion)
	wantReason(t, server.Check(tls.ConnectionState{Version: tls.VersionTLS13}, identity.DataPlane), verdict.NoCertificate)
}

func TestWatchEndsAtExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := mtlstest.NewCA(t, "cluster")
		server, _, _ := ca.Source(t, controlPlane())
		began := time.Now()
		state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: parse(t, ca.Issue(t, mtlstest.Leaf{}))}
		wantReason(t, server.Watch(t.Context(), state, identity.DataPlane), verdict.Expired)
		if took := time.Since(began); took < time.Hour || took > time.Hour+5*time.Second {
			t.Errorf("Watch ended after %v, want at the end of the certificate, an hour", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		state.PeerCertificates = parse(t, ca.Issue(t, mtlstest.Leaf{}))
		if err := server.Watch(ctx, state, identity.DataPlane); !errors.Is(err, context.DeadlineExceeded) || verdict.Explain(err).Reason == verdict.Expired {
			t.Errorf("Watch whose context ended = %v", err)
		}
	})
}

func TestRunNoticesARevocationWithinSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := mtlstest.NewCA(t, "cluster")
		_, files, _ := ca.Source(t, controlPlane())
		pair := ca.Issue(t, mtlstest.Leaf{})
		var log bytes.Buffer
		server, err := mtls.OpenWith(files, mtls.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- server.Run(ctx) }()
		state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: parse(t, pair)}
		within, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		go func() { done <- server.Watch(within, state, identity.DataPlane) }()
		synctest.Wait()

		began := time.Now()
		write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
		wantReason(t, <-done, verdict.Revoked)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the revocation took %v to be noticed, want under 3 s", took)
		}

		write(t, files.CRL, ca.CRL(t, 1, time.Now().Add(time.Hour)))
		time.Sleep(time.Minute)
		wantReason(t, server.Check(state, identity.DataPlane), verdict.Revoked) // an older list brings nobody back
		write(t, files.CRL, ca.CRL(t, 3, time.Now().Add(time.Hour)))
		time.Sleep(time.Minute)
		if err := server.Check(state, identity.DataPlane); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour) // the list of number 3 goes stale
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		for _, want := range []string{"number 1 is older than 2", "in order again", "should have been replaced by"} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("log says %q %d times, want once:\n%s", want, n, &log)
			}
		}
		if crls := server.Status().CRLs; len(crls) != 1 || !crls[0].Stale || crls[0].Number.Int64() != 3 {
			t.Errorf("Status.CRLs = %+v, want number 3, stale", crls)
		}
	})
}
