package app

import (
	"context"
	"crypto/x509"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/authorities"
	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/controlplane/enrol/authority"
	"github.com/keepgate/keepgate/controlplane/enrol/nodes"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

const tableTrust = "cluster_trust"

// openTrust makes what this node knows of whom the planes believe, and reads it, so that nobody links before.
func (p *plane) openTrust(ctx context.Context, source *mtls.Source) {
	p.authorities = authority.New(authority.Deps{
		Store: p.store, Catalog: p.catalog, Journal: p.peers.journal, Files: source, Organisation: source.Identity().Organisation,
		Sealing: p.seals(tableTrust), ControlPlanes: p.believingControlPlanes, DataPlanes: p.believingDataPlanes,
		Believe: func(believed, retired []*x509.Certificate, lists []*x509.RevocationList) error {
			return source.Believe(trust.Bundle{Authorities: believed, Retired: retired, Lists: lists})
		},
	}, authority.Options{Linked: p.fleet.Linked, Changed: p.peers.committed, Taken: p.peers.announce, Log: p.log})
	_ = p.authorities.Load(ctx) // told in the log, and tried again
	p.peers.trust.Store(&trusting{authorities: p.authorities, source: source, file: p.settings.Cluster.Cert})
}

// trustRoom is the part of the Admin API for whom the planes believe.
func (p *plane) trustRoom() admin.Room {
	if p.authorities != nil {
		return authorities.New(p.authorities, "")
	}
	if p.links != nil {
		return authorities.New(nil, "with cluster_mtls = shared all data planes have the same certificate; set cluster_mtls = pki")
	}
	return authorities.New(nil, "data planes cannot connect to this node; set cluster_cert, cluster_cert_key and cluster_ca_cert")
}

// trusting is what a lease says of whom this node believes.
type trusting struct {
	authorities *authority.Authorities
	source      *mtls.Source
	file        string // of the cluster certificate

	mu    sync.Mutex
	of    *x509.Certificate // guarded by mu; what Roots were looked up for
	after uint64            // guarded by mu
	roots []string          // guarded by mu
}

func (t *trusting) say() *members.Trust {
	t.mu.Lock()
	defer t.mu.Unlock()
	own, sequence := t.source.Certificate(), t.authorities.Sequence()
	if own != t.of || sequence != t.after {
		t.of, t.after, t.roots = own, sequence, t.authorities.Under(t.chain(own))
	}
	return &members.Trust{Sequence: sequence, Roots: t.roots}
}

// chain is the own certificate with what its file holds beside it.
func (t *trusting) chain(own *x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{own}
	found, err := certs.ReadFile(t.file)
	if err != nil {
		return chain // it is being replaced at this moment
	}
	for _, one := range found {
		if cert, ok := one.(*x509.Certificate); ok {
			chain = append(chain, cert)
		}
	}
	return chain
}

// believingControlPlanes are the nodes that live and serve data planes.
func (p *plane) believingControlPlanes(ctx context.Context) (holders []authority.Holder, err error) {
	live, err := p.peers.members.Live(ctx)
	for _, m := range live {
		if m.Trust != nil {
			holders = append(holders, authority.Holder{Name: m.Name, Sequence: m.Trust.Sequence, Roots: m.Trust.Roots})
		}
	}
	return holders, err
}

// believingDataPlanes are those that were seen within the purge delay, and those that have a certificate and were not. Those that were
// shut out or replaced are not waited for.
func (p *plane) believingDataPlanes(ctx context.Context) (holders []authority.Holder, err error) {
	all, err := p.fleet.List(ctx)
	if err != nil {
		return nil, err
	}
	now, enrolled := time.Now(), p.registry.List()
	seen, out, documents := map[string]bool{}, map[string]bool{}, p.documents()
	for _, n := range enrolled {
		out[n.Key] = n.RevokedAt > 0 && len(n.Living(now)) == 0
	}
	for _, d := range all {
		key := nodes.Key(d.Environment, d.Name)
		if out[key] && !d.Linked || d.Away(now) && replaced(documents[key], d.Serial) {
			continue
		}
		holder := authority.Holder{Name: key, Sequence: d.TrustSequence}
		if seen[key] = true; d.Root != "" {
			holder.Roots = []string{d.Root}
		}
		holders = append(holders, holder)
	}
	for _, n := range enrolled {
		living := n.Living(now)
		if seen[n.Key] || len(living) == 0 {
			continue
		}
		if root := p.authorities.SignerAt(time.Unix(living[len(living)-1].IssuedAt, 0)); root != "" {
			holders = append(holders, authority.Holder{Name: n.Key + " (not seen of late)", Roots: []string{root}})
		}
	}
	return holders, nil
}
