package app

import (
	"context"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/kmsservice"
	"github.com/keepgate/keepgate/controlplane/publish/stream"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/version"
)

// links serves the stream to data planes.
type links struct {
	source  *mtls.Source
	listens []net.Listener
	server  *stream.Server
	wrap    wrapv1.WrapServiceServer
	log     *slog.Logger

	enrolments *enrol.Service
}

// newLinks opens the sockets for data planes; nil when no cluster certificate is configured.
func newLinks(ctx context.Context, p *plane) (*links, error) {
	source, err := clusterSource(p.settings.Cluster, p.log)
	if err != nil {
		return nil, err
	}
	if source != nil && source.Mode() != trust.Shared {
		p.openTrust(ctx, source)
	}
	p.openEnrolment(source)
	if source == nil {
		return nil, nil
	}
	l := &links{source: source, log: p.log, enrolments: p.enrolments}
	l.server = stream.New(p.publisher, p.fleet, source, stream.Options{
		Name: p.hostname, Version: version.Text, Log: p.log, Gatekeeper: gatekeeper{source, p.registry, p.authorities},
	})
	l.wrap = kmsservice.New(p.keks, source, p.log)
	for _, at := range p.settings.Cluster.Listen {
		socket, err := listen("cluster_listen", at.Address)
		if err != nil {
			return nil, err
		}
		l.listens = append(l.listens, socket)
	}
	p.links = l
	return l, nil
}

const (
	// linkWorkers keep their stacks from one call of a KMS plugin to the next, as long as no data plane's stream has them:
	// a new goroutine's grows several times within such a call. What comes beyond them gets goroutines of its own.
	linkWorkers = 16
	// linkWindow is how much a peer may send ahead; data planes and plugins send little. A window that is measured instead
	// costs a ping for every message.
	linkWindow = 1 << 20
)

// Run serves until ctx ends.
func (l *links) Run(ctx context.Context) error {
	server := grpc.NewServer(
		grpc.Creds(grpccreds.Joinable(l.source, l.log, func(conn net.Conn) { l.enrolments.Serve(ctx, conn) }, identity.DataPlane, identity.KMS)),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.NumStreamWorkers(linkWorkers), grpc.StaticStreamWindowSize(linkWindow), grpc.StaticConnWindowSize(linkWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	syncv1.RegisterSyncServiceServer(server, l.server)
	wrapv1.RegisterWrapServiceServer(server, l.wrap)
	enrolv1.RegisterEnrolServiceServer(server, l.enrolments)
	parts := []lifecycle.Part{
		{Name: "cluster certificates", Run: l.source.Run},
		{Name: "stop", Run: func(ctx context.Context) error {
			<-ctx.Done()
			server.Stop() // data planes go on without us; there is nothing to drain
			return ctx.Err()
		}},
	}
	for _, listen := range l.listens {
		l.log.Info("waiting for data planes", "address", listen.Addr().String())
		parts = append(parts, lifecycle.Part{Name: "cluster listener", Run: func(ctx context.Context) error {
			if err := server.Serve(listen); err != nil && ctx.Err() == nil {
				return err
			}
			return ctx.Err()
		}})
	}
	return lifecycle.Run(ctx, parts...)
}
