package kubeapi_test

//lint:file-ignore SA1019 version 1 of the protocol is deprecated, and still spoken by API servers that have to be moved away from it

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/kms/apis/v1beta1"
	v2 "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/backend"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kubeapi"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/socket"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/wraptest"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const patience = 30 * time.Second

// plugin is a plugin as an API server finds it, over real sockets on both sides.
type plugin struct {
	kek      *wraptest.KEK
	node     *wraptest.Node
	pki      *wraptest.PKI
	follower *kek.Follower
	endpoint string
	path     string
}

func start(t *testing.T, options kubeapi.Options, follow kek.Options) *plugin {
	t.Helper()
	folder, err := os.MkdirTemp("", "kms") // the address of a socket holds 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	p := &plugin{kek: wraptest.NewKEK(t, "prod"), pki: wraptest.NewPKI(t), path: filepath.Join(folder, "kms.sock")}
	p.endpoint = "unix://" + p.path
	p.node = wraptest.Start(t, p.pki, p.kek, "cp-1")
	source := p.pki.Open(t, identity.Identity{Role: identity.KMS, Name: "prod.master-1"})
	cp := backend.New([]backend.Endpoint{{Address: p.node.Address, Credentials: grpccreds.Client(source, "127.0.0.1", identity.ControlPlane)}}, backend.Options{Timeout: patience})
	t.Cleanup(cp.Close)
	p.follower = kek.New(cp, "prod", follow)
	if err := p.follower.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- p.follower.Run(ctx) }()
	t.Cleanup(func() { stop(); <-followed })
	listener, err := socket.Open(p.endpoint, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := kubeapi.New(cp, p.follower, options).Server()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })
	return p
}

func (p *plugin) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+p.path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (p *plugin) two(t *testing.T) v2.KeyManagementServiceClient {
	t.Helper()
	return v2.NewKeyManagementServiceClient(p.dial(t))
}

func (p *plugin) one(t *testing.T) v1.KeyManagementServiceClient {
	t.Helper()
	return v1.NewKeyManagementServiceClient(p.dial(t))
}
