package mtls_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func parse(t *testing.T, pair mtlstest.Pair) []*x509.Certificate {
	t.Helper()
	return []*x509.Certificate{pair.Cert}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	soon := time.Now().Add(time.Hour)
	tests := map[string]struct {
		spoil func(t *testing.T, files *mtls.Files)
		says  string
	}{
		"no certificate configured": {func(_ *testing.T, f *mtls.Files) { f.Cert = "" }, "cluster certificate and key must be provided to use Hybrid mode"},
		"no CA configured":          {func(_ *testing.T, f *mtls.Files) { f.CA = "" }, "cluster_mtls = pki needs the certificates of the CAs"},
		"certificate missing":       {func(_ *testing.T, f *mtls.Files) { f.Cert += ".not" }, "no such file"},
		"CRL configured but missing": {
			func(_ *testing.T, f *mtls.Files) { f.CRL += ".not" }, "CRL: open",
		},
		"key open to all": {
			func(t *testing.T, f *mtls.Files) { chmod(t, f.Key, 0o644) }, "chmod 600 ",
		},
		"key missing":                    {func(_ *testing.T, f *mtls.Files) { f.Key += ".not" }, "private key: open"},
		"key writable by a group":        {func(t *testing.T, f *mtls.Files) { chmod(t, f.Key, 0o660) }, "chmod 600 "},
		"key is a folder":                {func(t *testing.T, f *mtls.Files) { f.Key = t.TempDir() }, "not a regular file"},
		"key of another certificate":     {func(t *testing.T, f *mtls.Files) { write(t, f.Key, ca.Issue(t, mtlstest.Leaf{}).KeyPEM) }, "does not match"},
		"key is no key":                  {func(t *testing.T, f *mtls.Files) { write(t, f.Key, ca.PEM) }, "no private key"},
		"key with a password":            {func(t *testing.T, f *mtls.Files) { write(t, f.Key, block("ENCRYPTED PRIVATE KEY")) }, "decrypt it first"},
		"key cut short":                  {func(t *testing.T, f *mtls.Files) { write(t, f.Key, block("PRIVATE KEY")) }, "private key"},
		"certificate of another CA":      {func(t *testing.T, f *mtls.Files) { write(t, f.CA, other.PEM) }, "other"},
		"leaf as CA":                     {func(t *testing.T, f *mtls.Files) { write(t, f.CA, ca.Issue(t, mtlstest.Leaf{}).CertPEM) }, "is not a CA certificate"},
		"CA too large":                   {func(t *testing.T, f *mtls.Files) { write(t, f.CA, append(bytes.Clone(ca.PEM), make([]byte, 1<<20)...)) }, "larger than 1048576 bytes"},
		"CA empty":                       {func(t *testing.T, f *mtls.Files) { write(t, f.CA, nil) }, "no certificate in PEM form"},
		"CA file that is a CRL":          {func(t *testing.T, f *mtls.Files) { write(t, f.CA, ca.CRL(t, 1, time.Now().Add(time.Hour))) }, "it holds a CRL where certificates are wanted"},
		"CA file with a key in it":       {func(t *testing.T, f *mtls.Files) { write(t, f.CA, append(ca.PEM, block("PRIVATE KEY")...)) }, "beside certificates"},
		"CRL empty":                      {func(t *testing.T, f *mtls.Files) { write(t, f.CRL, nil) }, "no X509 CRL"},
		"CRL is a certificate":           {func(t *testing.T, f *mtls.Files) { write(t, f.CRL, ca.PEM) }, "not an X509 CRL"},
		"CRL cut short":                  {func(t *testing.T, f *mtls.Files) { write(t, f.CRL, block("X509 CRL")) }, "CRL 1"},
		"CRL of another CA":              {func(t *testing.T, f *mtls.Files) { write(t, f.CRL, other.CRL(t, 1, soon)) }, "not signed by any of the CAs"},
		"CRL with a flipped bit":         {func(t *testing.T, f *mtls.Files) { write(t, f.CRL, flipped(t, ca.CRL(t, 1, soon))) }, "not signed by any of the CAs"},
		"certificate without a URI SAN":  {issued(ca, mtlstest.Leaf{URIs: []string{}}), "no keepgate:// URI SAN"},
		"certificate of an unknown role": {issued(ca, mtlstest.Leaf{URIs: []string{"keepgate://root/acme/-/a"}}), `role "root"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
			test.spoil(t, &files)
			_, err := mtls.Open(files)
			if fault.KindOf(err) != fault.Invalid || err == nil || !strings.Contains(err.Error(), test.says) || strings.Count(err.Error(), "private key: ") > 1 {
				t.Errorf("Open = %v, want fault.Invalid saying %q, and nothing twice", err, test.says)
			}
		})
	}
}

func block(kind string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte{0x30, 0x03, 0x02}})
}

func flipped(t *testing.T, data []byte) []byte {
	t.Helper()
	list, _ := pem.Decode(data)
	list.Bytes[len(list.Bytes)-1] ^= 1 // in the signature
	return pem.EncodeToMemory(list)
}

func issued(ca *mtlstest.CA, leaf mtlstest.Leaf) func(*testing.T, *mtls.Files) {
	return func(t *testing.T, f *mtls.Files) {
		pair := ca.Issue(t, leaf)
		write(t, f.Cert, pair.CertPEM)
		write(t, f.Key, pair.KeyPEM)
	}
}

func TestOpenWarns(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	tests := map[string]struct {
		leaf  mtlstest.Leaf
		spoil func(t *testing.T, files *mtls.Files, pair mtlstest.Pair)
		says  string
	}{
		"expired":      {leaf: mtlstest.Leaf{NotAfter: time.Now().Add(-time.Minute)}, says: "every peer will refuse it"},
		"expires soon": {says: "expires soon"},
		"no CRL":       {spoil: func(_ *testing.T, f *mtls.Files, _ mtlstest.Pair) { f.CRL = "" }, says: "no CRL is configured"},
		"stale CRL": {spoil: func(t *testing.T, f *mtls.Files, _ mtlstest.Pair) {
			write(t, f.CRL, ca.CRL(t, 1, time.Now().Add(-time.Minute)))
		}, says: "it is still used"},
		"own certificate revoked": {spoil: func(t *testing.T, f *mtls.Files, pair mtlstest.Pair) {
			write(t, f.CRL, ca.CRL(t, 1, time.Now().Add(time.Minute), pair))
		}, says: "is itself revoked"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := ca.Issue(t, test.leaf)
			files := ca.Files(t, pair)
			if test.spoil != nil {
				test.spoil(t, &files, pair)
			}
			var log bytes.Buffer
			source, err := mtls.OpenWith(files, mtls.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if notices := strings.Join(source.Status().Notices, "\n"); !strings.Contains(notices, test.says) || !strings.Contains(log.String(), test.says) {
				t.Errorf("notices %q, log %q; want %q", notices, &log, test.says)
			}
		})
	}
}

func TestCRLInDER(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	pair := ca.Issue(t, mtlstest.Leaf{})
	files := ca.Files(t, pair)
	list, _ := pem.Decode(ca.CRL(t, 7, time.Now().Add(time.Hour), pair))
	write(t, files.CRL, list.Bytes)
	if crls := open(t, files).Status().CRLs; len(crls) != 1 || crls[0].Number.Int64() != 7 || crls[0].Revoked != 1 {
		t.Errorf("Status.CRLs = %+v", crls)
	}
}

func TestKeyReadableByAGroupOfRoots(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	files := ca.Files(t, ca.Issue(t, mtlstest.Leaf{}))
	chmod(t, files.Key, 0o640)
	source, err := mtls.Open(files)
	if os.Geteuid() != 0 {
		if err == nil {
			t.Error("a group-readable key of an ordinary user was accepted")
		}
		return
	}
	if err != nil || !strings.Contains(strings.Join(source.Status().Notices, "\n"), "readable by group 0 (mode 0640)") {
		t.Fatalf("Open = %v, notices %q", err, source.Status().Notices)
	}
	chmod(t, files.Key, 0o600) // what was told to be mended is looked at again
	if err := source.Reload(); err != nil || strings.Contains(strings.Join(source.Status().Notices, "\n"), "readable by") {
		t.Errorf("Reload = %v, notices %q", err, source.Status().Notices)
	}
}

func TestReloadKeepsTheOldSet(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, files, pair := ca.Source(t, mtlstest.Leaf{})
	changed := source.Changed()
	next := ca.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Name: "node-2"}})
	write(t, files.Cert, next.CertPEM)
	if err := source.Reload(); err == nil {
		t.Fatal("a certificate without its key was loaded")
	}
	if source.Identity().Serial != identity.SerialText(pair.Cert.SerialNumber) || source.Status().Problem == "" {
		t.Errorf("after a refused set: %+v", source.Status())
	}
	select {
	case <-changed:
		t.Error("a refused set counts as a change")
	default:
	}
	write(t, files.Key, next.KeyPEM)
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("a new set does not count as a change")
	}
	if source.Identity().Name != "node-2" || source.Status().Problem != "" {
		t.Errorf("after the whole set: %+v", source.Status())
	}
}

// TestReloadUnderHandshakes renews both ends and the CRL while connections are made: none may fail.
func TestReloadUnderHandshakes(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	_, serverFiles, _ := ca.Source(t, controlPlane())
	_, clientFiles, _ := ca.Source(t, mtlstest.Leaf{})
	server, err := mtls.OpenWith(serverFiles, mtls.Options{Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	client, err := mtls.OpenWith(clientFiles, mtls.Options{Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { _ = server.Run(ctx) })
	group.Go(func() { _ = client.Run(ctx) })
	group.Go(func() {
		for n := int64(2); ctx.Err() == nil; n++ {
			list := ca.CRL(t, n, time.Now().Add(time.Hour))
			write(t, serverFiles.CRL, list)
			write(t, clientFiles.CRL, list)
			pair := ca.Issue(t, mtlstest.Leaf{})
			write(t, clientFiles.Key, pair.KeyPEM)
			write(t, clientFiles.Cert, pair.CertPEM)
		}
	})
	listening, dialling, serials := server.Server(identity.DataPlane), client.Client("cp.example", identity.ControlPlane), map[string]bool{}
	for range 100 {
		o := connect(t, listening, dialling)
		if o.server != nil || o.client != nil {
			t.Fatalf("server: %v, client: %v", o.server, o.client)
		}
		id, err := mtls.PeerOf(o.serverState)
		if err != nil {
			t.Fatal(err)
		}
		serials[id.Serial] = true
	}
	if len(serials) < 2 {
		t.Error("no connection used a renewed certificate, so this test shows nothing")
	}
}

func TestDeriveKey(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	source, files, _ := ca.Source(t, mtlstest.Leaf{})
	live, err := source.DeriveKey("local-store", 32)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := privatekey.DeriveFile(files.Key, "local-store", 32)
	if err != nil || !live.Equal(stored) {
		t.Errorf("Source and file derive different keys (%v)", err)
	}
	if _, err := source.DeriveKey("", 32); err == nil {
		t.Error("DeriveKey without a label succeeded")
	}
}
