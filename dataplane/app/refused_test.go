package app

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/enrol/enroltest"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// refusing is a control plane that wants no data plane.
type refusing struct {
	syncv1.UnimplementedSyncServiceServer
}

func (refusing) Stream(syncv1.SyncService_StreamServer) error {
	return status.Error(codes.PermissionDenied, "a newer certificate of this data plane is in use")
}

// TestARefusedNodeSaysWhy: its status holds what the control plane said, and not its log alone.
func TestARefusedNodeSaysWhy(t *testing.T) {
	t.Parallel()
	c := enroltest.New(t)
	p := joinedPlane(t, c, t.TempDir(), enrol.Disk{})
	if advice := p.standing().Advice; advice != "" {
		t.Errorf("before it has linked: %q", advice)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(grpccreds.Server(c.Source, slog.New(slog.DiscardHandler), identity.DataPlane)))
	syncv1.RegisterSyncServiceServer(server, refusing{})
	go server.Serve(socket) // ends with Stop
	t.Cleanup(server.Stop)
	p.settings.Cluster.ControlPlane = []string{socket.Addr().String()}
	if err := p.link(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.uplink.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	const want = "the control plane refuses this node: a newer certificate of this data plane is in use"
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.standing().Advice, want); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("its advice is %q", p.standing().Advice)
		}
	}
}
