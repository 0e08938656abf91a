package kmsservice_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/kmsservice"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

const patience = 5 * time.Minute // nothing takes that long, on any machine

// keep is a cluster listener that serves KEKs on a real database.
type keep struct {
	t       testing.TB
	ca      *mtlstest.CA
	files   mtls.Files // of the server
	source  *mtls.Source
	keks    *keks.Keks
	address string
}

func newKeep(t testing.TB, options keks.Options) *keep {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "keep.db")})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	must(t, store.Migrate(ctx))
	ring, err := keyring.Open(ctx, store, local.New(filepath.Join(dir, "keyring.key")), nil, keyring.Options{})
	must(t, err)
	cipher, err := encryption.New(ctx, store, encryption.FromSettings(ring, encryption.Options{}))
	must(t, err)
	journal, err := audit.Open(ctx, store, "node-1", audit.Options{Cluster: "test"})
	must(t, err)
	c := catalog.New(store, schema.New(plugins.All()), cipher, catalog.Options{})
	k := &keep{t: t, ca: mtlstest.NewCA(t, "cluster"), keks: keks.New(c, store, journal, options)}
	k.source, k.files, _ = k.ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}, DNS: []string{"cp.example"}})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(grpc.Creds(grpccreds.Server(k.source, slog.New(slog.DiscardHandler), identity.DataPlane, identity.KMS)))
	wrapv1.RegisterWrapServiceServer(server, kmsservice.New(k.keks, k.source, slog.New(slog.DiscardHandler)))
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	k.address = listener.Addr().String()
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is who a certificate makes it.
func (k *keep) client(id identity.Identity) (wrapv1.WrapServiceClient, mtlstest.Pair) {
	k.t.Helper()
	source, _, pair := k.ca.Source(k.t, mtlstest.Leaf{Identity: id})
	conn, err := grpc.NewClient(k.address, grpc.WithTransportCredentials(grpccreds.Client(source, "", identity.ControlPlane)))
	must(k.t, err)
	k.t.Cleanup(func() { _ = conn.Close() })
	return wrapv1.NewWrapServiceClient(conn), pair
}

func (k *keep) kms(name string) wrapv1.WrapServiceClient {
	k.t.Helper()
	client, _ := k.client(identity.Identity{Role: identity.KMS, Name: name})
	return client
}

func (k *keep) create(name string) string {
	k.t.Helper()
	c, err := k.keks.Create(k.t.Context(), name, 0)
	must(k.t, err)
	return c.KeyID
}

func context30(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func wants(t testing.TB, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("the error is %v, and should be %v", err, code)
	}
}

// A plugin wraps and unwraps under the KEK of its certificate, and sees a rotation.
func TestWrapOverTheNetwork(t *testing.T) {
	t.Parallel()
	k, ctx := newKeep(t, keks.Options{}), context30(t)
	first := k.create("prod")
	one, two := k.kms("prod.master-1"), k.kms("prod")
	sealed, err := one.Wrap(ctx, &wrapv1.WrapRequest{Uid: "u1", Plaintext: []byte("seed")})
	must(t, err)
	if sealed.KeyId != first || strings.Contains(string(sealed.Ciphertext), "seed") {
		t.Fatalf("wrapped under %s", sealed.KeyId)
	}
	opened, err := two.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u2", KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
	if err != nil || string(opened.Plaintext) != "seed" {
		t.Fatalf("%v, %v", opened, err)
	}
	c, err := k.keks.Rotate(ctx, "prod")
	must(t, err)
	shown, err := one.Describe(ctx, &wrapv1.DescribeRequest{})
	must(t, err)
	if shown.Name != "prod" || len(shown.Keys) != 2 || shown.Keys[0].KeyId != first || shown.Keys[1].KeyId != c.KeyID || shown.Keys[1].Generation != 2 || shown.Keys[1].CreatedAt == 0 {
		t.Fatalf("Describe = %v", shown)
	}
	again, err := one.Wrap(ctx, &wrapv1.WrapRequest{Uid: "u3", KeyId: first, Plaintext: []byte("seed")})
	if err != nil || again.KeyId != first {
		t.Fatalf("just after a rotation: %v", err)
	}
	must(t, k.keks.Retire(ctx, "prod", first, true))
	_, err = one.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u4", KeyId: first, Ciphertext: sealed.Ciphertext})
	wants(t, err, codes.FailedPrecondition)
}

// Nobody else gets anything: not another cluster, not another role, and not whose certificate was taken back.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	k, ctx := newKeep(t, keks.Options{}), context30(t)
	k.create("prod")
	k.create("test")
	sealed, err := k.kms("prod.master-1").Wrap(ctx, &wrapv1.WrapRequest{Uid: "u", Plaintext: []byte("seed")})
	must(t, err)
	for _, name := range []string{"test", "test.prod", "prod-2", "Prod"} {
		_, err := k.kms(name).Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u", KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
		wants(t, err, codes.NotFound)
	}
	edge, _ := k.client(identity.Identity{Role: identity.DataPlane, Environment: "prod", Name: "prod"})
	_, err = edge.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u", KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
	wants(t, err, codes.PermissionDenied)
	_, err = edge.Describe(ctx, &wrapv1.DescribeRequest{})
	wants(t, err, codes.PermissionDenied)

	stolen, pair := k.client(identity.Identity{Role: identity.KMS, Name: "prod.master-2"})
	_, err = stolen.Describe(ctx, &wrapv1.DescribeRequest{})
	must(t, err)
	mtlstest.Write(t, k.files.CRL, k.ca.CRL(t, 7, time.Now().Add(time.Hour), pair))
	must(t, k.source.Reload())
	_, err = stolen.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u", KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
	wants(t, err, codes.PermissionDenied) // on the connection that it had
}

func TestCodes(t *testing.T) {
	t.Parallel()
	k, ctx := newKeep(t, keks.Options{}), context30(t)
	id := k.create("prod")
	one := k.kms("prod.master-1")
	_, err := k.kms("nobody").Describe(ctx, &wrapv1.DescribeRequest{})
	wants(t, err, codes.NotFound)
	for name, test := range map[string]struct {
		request *wrapv1.WrapRequest
		code    codes.Code
	}{
		"nothing":           {&wrapv1.WrapRequest{Uid: "u"}, codes.InvalidArgument},
		"too much":          {&wrapv1.WrapRequest{Uid: "u", Plaintext: make([]byte, keks.MaxPlaintext+1)}, codes.InvalidArgument},
		"an unknown key":    {&wrapv1.WrapRequest{Uid: "u", KeyId: "prod.7.0011223344556677", Plaintext: []byte("x")}, codes.NotFound},
		"an impossible uid": {&wrapv1.WrapRequest{Uid: "u\nv", Plaintext: []byte("x")}, codes.InvalidArgument},
	} {
		_, err := one.Wrap(ctx, test.request)
		if status.Code(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = one.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: "u", KeyId: id, Ciphertext: []byte("not ours")})
	wants(t, err, codes.InvalidArgument)
	sealed, err := one.Wrap(ctx, &wrapv1.WrapRequest{Uid: "u", Plaintext: make([]byte, keks.MaxPlaintext)})
	if err != nil || len(sealed.Ciphertext) > 1024 {
		t.Errorf("%d bytes, %v", len(sealed.GetCiphertext()), err)
	}
	must(t, k.keks.End(ctx, "prod"))
	_, err = one.Describe(ctx, &wrapv1.DescribeRequest{})
	wants(t, err, codes.FailedPrecondition)
}

// API servers that start ask for one seed very many times at once.
func TestABurstOfEqualUnwraps(t *testing.T) {
	t.Parallel()
	k, ctx := newKeep(t, keks.Options{}), context30(t)
	k.create("prod")
	one := k.kms("prod.master-1")
	sealed, err := one.Wrap(ctx, &wrapv1.WrapRequest{Uid: "u", Plaintext: []byte("seed")})
	must(t, err)
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			opened, err := one.Unwrap(ctx, &wrapv1.UnwrapRequest{Uid: fmt.Sprint("burst-", i), KeyId: sealed.KeyId, Ciphertext: sealed.Ciphertext})
			if err != nil || string(opened.Plaintext) != "seed" {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	group.Wait()
}
