package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// examineRoutes reaches the other nodes' servers as the embedded one would.
func examineRoutes(ctx context.Context, embedded *Embedded) []finding.Finding {
	findings := finding.Run(ctx, "NATS (embedded)", []finding.Step{{Name: "routes", Do: func(context.Context) finding.Result {
		if len(embedded.Routes) == 0 {
			return finding.Fine("none are set and no other node has a lease: they are found when one comes")
		}
		return finding.Fine("%s", strings.Join(embedded.Routes, ", "))
	}}})
	for _, address := range embedded.Routes {
		route := &route{address: address, source: embedded.Source}
		findings = append(findings, finding.Run(ctx, "NATS route "+address, []finding.Step{
			{Name: "TCP", Do: route.tcp},
			{Name: "TLS", Needs: []string{"TCP"}, Do: route.secure},
			{Name: "NATS", Needs: []string{"TLS"}, Do: route.greeting},
		})...)
		if route.conn != nil {
			_ = route.conn.Close() // as above
		}
	}
	return findings
}

type route struct {
	address string
	source  *mtls.Source
	conn    net.Conn
}

func (r *route) tcp(ctx context.Context) finding.Result {
	conn, result := connect(ctx, r.address, "nats_cluster_routes, or nats_cluster_advertise of that node")
	r.conn = conn // the routes of a server that asks for TLS begin with it
	return result
}

func (r *route) greeting(context.Context) finding.Result {
	said, err := greet(r.conn)
	if refusal := verdict.Explain(err); err != nil && refusal.Reason == verdict.RefusedByPeer {
		return finding.Bad("the node at "+r.address+" refuses our certificate: "+refusal.Detail, "give both nodes certificates of role control-plane from one authority (peer_cert, peer_ca_cert)")
	}
	if err != nil {
		return finding.Bad("what listens at "+r.address+" is no NATS server: "+err.Error(), "mend nats_cluster_routes: it wants nats_cluster_listen of the other node")
	}
	return finding.Fine("version %s", said.Version)
}

func (r *route) secure(ctx context.Context) finding.Result {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn := tls.Client(r.conn, r.source.Client("", identity.ControlPlane))
	if err := conn.HandshakeContext(ctx); err != nil {
		if errors.Is(err, io.EOF) { // who refuses a certificate says so before
			return finding.Bad(r.address+" left during the handshake", "let nats_cluster_routes name nats_cluster_listen of the other node; if it does, see that node's log")
		}
		refusal := verdict.Explain(err)
		return finding.Bad(fmt.Sprintf("%s: %s", refusal.Reason, refusal.Detail), "give both nodes certificates of role control-plane from one authority (peer_cert, peer_ca_cert)")
	}
	r.conn = conn
	peer, err := mtls.PeerOf(conn.ConnectionState())
	if err != nil {
		return finding.Bad(err.Error(), "give that node a certificate of role control-plane")
	}
	return finding.Fine("%s; %s", papers.Version(conn.ConnectionState()), peer)
}
