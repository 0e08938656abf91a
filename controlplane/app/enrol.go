package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/enrolments"
	"github.com/keepgate/keepgate/controlplane/enrol"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

const tableTokens = "join_tokens"

// openEnrolment makes who may link and who may join. Without a cluster certificate nobody may, and what is on record is
// shown all the same.
func (p *plane) openEnrolment(source *mtls.Source) {
	whom := nodes.Options{
		Journal: p.peers.journal, Committed: p.peers.committed, PurgeDelay: p.settings.Cluster.PurgeDelay, Log: p.log,
		Refusal: func() error { return notEnrolling(source) },
	}
	how := enrol.Options{
		Validity: p.settings.Cluster.Validity, PurgeDelay: p.settings.Cluster.PurgeDelay, Committed: p.peers.committed, Journal: p.peers.journal, Log: p.log,
		Refusal: func() error {
			if err := notEnrolling(source); err != nil {
				return err
			}
			return p.seals(tableTokens)()
		},
	}
	var certifies enrol.Authority
	if source != nil {
		whom.Signer, whom.Organisation, how.Organisation = source, source.Identity().Organisation, source.Identity().Organisation
		how.Root = func() (enrolment.Pin, error) { return rootOf(source) }
		how.Allows = source.AllowsName
	}
	if p.authorities != nil {
		certifies = p.authorities
	}
	p.registry = nodes.New(p.catalog, p.store, whom)
	p.enrolments = enrol.New(p.catalog, p.registry, certifies, how)
}

// notEnrolling is why nobody can be invited or revoked, as the settings are.
func notEnrolling(source *mtls.Source) error {
	switch {
	case source == nil:
		return fault.Newf(fault.Invalid, "app.Enrol", "cluster_cert", "data planes cannot connect to this node: set cluster_cert, cluster_cert_key and cluster_ca_cert")
	case source.Mode() == trust.Shared:
		return fault.Newf(fault.Invalid, "app.Enrol", "cluster_mtls", "with cluster_mtls = shared all data planes have the same certificate, so that none can be let in or shut out by itself: "+
			"set cluster_mtls = pki; to shut all of them out, replace the certificate on every node")
	}
	return nil
}

// rootOf is the authority that this node's certificate leads to, as a node that joins is shown it. While one replaces
// another both are shown, and the older one is: by nodes whose certificates were not replaced yet too.
func rootOf(source *mtls.Source) (enrolment.Pin, error) {
	var root *x509.Certificate
	for _, shown := range source.JoinConfig().Certificates {
		for _, der := range shown.Certificate {
			cert, err := x509.ParseCertificate(der)
			if err != nil || !cert.IsCA || cert.CheckSignatureFrom(cert) != nil {
				continue
			}
			if root == nil || cert.NotBefore.Before(root.NotBefore) {
				root = cert
			}
		}
	}
	if root == nil {
		return enrolment.Pin{}, fault.Newf(fault.Invalid, "app.Enrol", "cluster_ca_cert", "it holds no root (a certificate that signs itself) of this node's certificate, "+
			"by which a node that joins could know the control plane: add it")
	}
	return enrolment.PinOf(root), nil
}

// gatekeeper says who may link, and what to say to them.
type gatekeeper struct {
	source      *mtls.Source
	registry    *nodes.Registry
	authorities *authority.Authorities // nil: the files say everything
}

// shared: one certificate stands for all of them.
func (g gatekeeper) shared() bool { return g.source.Mode() == trust.Shared }

// Admit implements stream.Gatekeeper.
func (g gatekeeper) Admit(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error {
	if g.shared() {
		return nil
	}
	return g.registry.Admit(ctx, cs, who)
}

// Watch implements stream.Gatekeeper.
func (g gatekeeper) Watch(ctx context.Context, cs tls.ConnectionState, who identity.Identity) error {
	if g.shared() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return g.registry.Watch(ctx, cs, who)
}

// Orders implements stream.Gatekeeper.
func (g gatekeeper) Orders(cs tls.ConnectionState, who identity.Identity, trustSequence uint64) ([]*syncv1.Command, <-chan struct{}) {
	if g.authorities == nil {
		return nil, nil
	}
	return g.authorities.Orders(who.String(), g.Root(cs), trustSequence)
}

// Root names the authority under which a data plane is believed.
func (g gatekeeper) Root(cs tls.ConnectionState) string {
	cert, err := g.source.Root(cs)
	if err != nil {
		return ""
	}
	return authority.Fingerprint(cert)
}

// enrolled is what is on record, for the list of data planes.
func (p *plane) enrolled(context.Context) (map[string]dataplanes.Enrolment, error) {
	all := map[string]dataplanes.Enrolment{}
	for _, n := range p.registry.List() {
		revoked := n.RevokedAt
		if len(n.Certificates) > 0 { // it has joined again since
			revoked = 0
		}
		all[n.Key] = dataplanes.Enrolment{JoinedAt: n.JoinedAt, RenewedAt: n.RenewedAt, RevokedAt: revoked, Reason: n.Reason, Serials: usable(n.Document)}
	}
	return all, nil
}

// enrolmentRoom is the part of the Admin API that lets data planes in and shuts them out.
func (p *plane) enrolmentRoom() admin.Room {
	return enrolments.New(enrolments.Deps{
		Tokens: p.enrolments, Registry: p.registry, Fleet: p.fleet, Addresses: p.clusterAddresses,
	})
}

// clusterAddresses are where data planes reach the control plane: all its nodes, where cluster_advertise names them.
func (p *plane) clusterAddresses() (addresses []string) {
	if len(p.settings.Cluster.Advertise) > 0 {
		return p.settings.Cluster.Advertise
	}
	if p.links == nil {
		return nil
	}
	for _, listening := range p.links.listens {
		host, port, err := net.SplitHostPort(listening.Addr().String())
		if err != nil {
			continue
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			host = p.hostname
		}
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	return addresses
}

// checkAdvertised refuses addresses that no data plane could dial.
func checkAdvertised(addresses []string) error {
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || port == "" || port == "0" || strings.ContainsAny(address, " ,'\"") {
			return fault.Newf(fault.Invalid, "app.Run", "cluster_advertise", "%q is not host:port", address)
		}
	}
	return nil
}
