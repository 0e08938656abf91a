package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/tunnel"
	"github.com/keepgate/keepgate/dataplane/uplink"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls/grpccreds"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/version"
)

// link makes the way to the control plane; nothing is dialled yet.
func (p *plane) link() error {
	s := p.settings
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("asking for the host name: %w", err)
	}
	dial, err := dialler(s)
	if err != nil {
		return err
	}
	p.uplink = uplink.New(p.endpoints(), p.applier, uplink.Node{
		ID: p.nodeID, Hostname: hostname, Version: version.Text, Plugins: pluginVersions(), Labels: s.Cluster.Labels,
		CertificateExpires: func() time.Time { return p.belonging.source.Identity().NotAfter },
		Orders:             p.belonging.member,
	}, uplink.Options{Dial: dial, Heard: p.heard, Log: p.log})
	p.belonging.member.OnRenewal(p.uplink.Relink)
	return nil
}

func (p *plane) endpoints() (nodes []uplink.Endpoint) {
	c := p.settings.Cluster
	for _, address := range c.ControlPlane {
		nodes = append(nodes, uplink.Endpoint{Address: address, Credentials: grpccreds.Client(p.belonging.source, serverName(c, address), identity.ControlPlane)})
	}
	return nodes
}

// linked are the parts of a node that belongs to a cluster.
func (p *plane) linked() []lifecycle.Part {
	if p.uplink == nil {
		return nil
	}
	dial, _ := dialler(p.settings) // link has made the same
	var nodes enrol.Nodes
	for _, endpoint := range p.endpoints() {
		nodes = append(nodes, enrol.Node{Address: endpoint.Address, Connect: func() (*grpc.ClientConn, error) { return endpoint.Connect(dial) }})
	}
	return []lifecycle.Part{
		{Name: "cluster certificates", Run: p.follow},
		{Name: "control plane link", Run: p.uplink.Run},
		{Name: "renewal of the certificate", Run: func(ctx context.Context) error { return p.belonging.member.Run(ctx, nodes) }},
	}
}

// dialler is how the control plane is reached: nil is straight.
func dialler(s dpsettings.DataPlane) (uplink.Dial, error) {
	dial, err := tunnel.Through(s.Cluster.UseProxy, s.Cluster.ProxyServer, s.Upstream.Roots, !s.Cluster.ProxyVerify)
	return dial, err
}
