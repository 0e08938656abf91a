package app

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/controlplane/peer"
	"github.com/keepgate/keepgate/controlplane/peer/bus"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// Topics of what control plane nodes say to each other.
const (
	topicHistory = "history"     // something was committed
	topicRing    = "ring"        // the keyring changed
	topicHeads   = "audit-heads" // the end of a node's journal
)

const (
	routesEvery  = 5 * time.Second
	lonelyRounds = 3 // of looking, before a node that reaches no other says so
)

// peers is this node among those of its control plane.
type peers struct {
	plane    *plane
	cluster  string        // id of the database
	identity *peerIdentity // nil: a single node without a certificate
	journal  *audit.Journal
	members  *members.Members
	bus      *bus.Bus   // nil: nobody to speak to
	peer     *peer.Peer // nil as well
	started  time.Time
	changed  chan struct{}               // this node's ring has changed, and nobody was told yet
	rings    rings                       // beside the keyring
	trust    atomic.Pointer[trusting]    // nil: no data planes are served here
	chains   atomic.Pointer[members.Say] // what this node reads and writes, for its lease; nil: nothing was said yet
}

// join makes this node one of its control plane: its certificate, its journal, its lease and its messages.
func (p *plane) join(ctx context.Context) (err error) {
	n := &peers{plane: p, started: time.Now(), changed: make(chan struct{}, 1)}
	p.peers = n
	if n.cluster, err = clusterID(ctx, p.store); err != nil {
		return fmt.Errorf("naming the cluster: %w", err)
	}
	shared := p.settings.Database.Engine != "sqlite"
	if _, given := peerFiles(p.settings); given || shared || p.settings.Keyring.ProviderConfig != "" || provenByPeers(strategyOf(p.settings)) {
		if n.identity, err = openPeer(p.settings, p.id, p.hostname, p.log); err != nil {
			return err
		}
	}
	journal := audit.Options{Cluster: n.cluster, HeadsPath: p.settings.Audit.HeadsPath, Say: n.sayHead, Log: p.log}
	var proves members.Prover
	if n.identity != nil {
		now := prover{n.identity.source, proof.Now}
		proves, journal.Prover = now, prover{n.identity.source, proof.Ever}
	}
	if n.journal, err = audit.Open(ctx, p.store, p.id, journal); err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	n.members = members.New(p.store, proves, n.cluster, n.say, members.Options{
		Sole: !shared || strategyOf(p.settings) == "local" || soleByTrust(p.settings), SoleBecause: whySole(p.settings), Log: p.log,
	})
	if shared {
		if err := n.open(ctx); err != nil {
			return err
		}
	}
	n.chains.Store(p.providers.says(p.providers.current()))
	return n.members.Join(ctx)
}

// leave takes back what a node that does not run must not leave behind: a lease that others would wait for, and the
// sockets of its NATS server.
func (p *plane) leave(ctx context.Context) {
	if p.peers == nil {
		return
	}
	if p.peers.bus != nil {
		p.peers.bus.Close()
	}
	if p.peers.members == nil {
		return
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := p.peers.members.Leave(leaving); err != nil {
		p.log.Warn("the other control plane nodes will count this one as living for a moment", "error", err)
	}
}

// open connects to the other nodes.
func (n *peers) open(ctx context.Context) (err error) {
	s := n.plane.settings.Peers
	config := externalNATS(s)
	config.Cluster, config.Node, config.Log = n.cluster, n.plane.id, n.plane.log
	switch {
	case len(s.URL) > 0:
	case s.ClusterListen == "" || s.ClusterListen == "off":
		return nil
	default:
		config.Embedded = &bus.Embedded{Listen: s.ClusterListen, Advertise: n.advertised(), Routes: s.ClusterRoutes, Source: n.identity.source}
	}
	if n.bus, err = bus.Open(ctx, config); err != nil {
		return err
	}
	self := peer.Self{Cluster: n.cluster, Node: n.plane.id, Started: n.started}
	n.peer = peer.New(n.identity.source, n.bus, self, peer.Options{Log: n.plane.log})
	return nil
}

// externalNATS is what the settings say of one.
func externalNATS(s cpsettings.Peers) bus.Config {
	return bus.Config{URLs: s.URL, CACert: s.CACertNATS, Cert: s.CertNATS, Key: s.KeyNATS, NKeyFile: s.NKeyFile, CredentialsFile: s.CredentialsFile}
}

// advertised is where the other nodes reach this one's NATS server.
func (n *peers) advertised() string {
	s := n.plane.settings.Peers
	if s.ClusterAdvertise != "" || len(s.URL) > 0 {
		return s.ClusterAdvertise
	}
	listens := s.ClusterListen
	if n.bus != nil && n.bus.RouteAddress() != "" {
		listens = n.bus.RouteAddress() // with the port that was taken, where any would do
	}
	host, port, err := net.SplitHostPort(listens)
	if err != nil {
		return ""
	}
	if port == "0" {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = n.plane.hostname
	}
	return net.JoinHostPort(host, port)
}

func (n *peers) hint(topic string) {
	if n.peer != nil {
		n.peer.Hint(topic)
	}
}

func (n *peers) sayHead(head []byte) {
	if n.peer != nil {
		n.peer.Say(topicHeads, head)
	}
}

// committed tells this node's and the other nodes' readers that the history has gone on.
func (n *peers) committed() {
	n.wakeReaders()
	n.hint(topicHistory)
}

// wakeReaders tells whoever follows what is committed.
func (n *peers) wakeReaders() {
	n.plane.feed.Wake()
	if n.plane.registry != nil {
		n.plane.registry.Wake()
	}
	if n.plane.authorities != nil {
		n.plane.authorities.Wake()
	}
}

// parts are what runs for this node among others.
func (n *peers) parts() []lifecycle.Part {
	parts := []lifecycle.Part{
		{Name: "lease", Run: n.members.Run},
		{Name: "journal", Run: n.journal.Run},
		{Name: "announcements", Run: n.announcing},
	}
	if n.identity != nil {
		parts = append(parts, lifecycle.Part{Name: "peer identity", Run: n.identity.Run})
	}
	if n.peer == nil {
		return parts
	}
	n.peer.On(topicHistory, n.wakeReaders)
	n.peer.Hear(topicHeads, func(from identity.Identity, node string, body []byte) { n.journal.Heard(from.String(), node, body) })
	if n.plane.ring != nil {
		n.peer.Exchange(n.plane.ring)
	}
	n.peer.On(topicRing, n.wake)
	parts = append(parts, lifecycle.Part{Name: "NATS", Run: n.bus.Run}, lifecycle.Part{Name: "peers", Run: n.peer.Run})
	if len(n.plane.settings.Peers.URL) == 0 && len(n.plane.settings.Peers.ClusterRoutes) == 0 {
		parts = append(parts, lifecycle.Part{Name: "routes", Run: n.routing})
	}
	return parts
}

// announcing renews the lease and hints whenever the ring has changed.
func (n *peers) announcing(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.changed:
		}
		if err := n.members.Renew(ctx); err != nil && ctx.Err() == nil {
			n.plane.log.Warn("the other nodes do not know yet which keys this one holds", "error", err)
		}
		n.hint(topicRing)
	}
}

// routing finds the other nodes' NATS servers by their leases, and says so when none of them is reached.
func (n *peers) routing(ctx context.Context) error {
	var known []string
	alone, told := 0, false
	for {
		live, err := n.members.Live(ctx)
		if err == nil {
			var routes []string
			for _, m := range live {
				if m.Node != n.plane.id && m.Address != "" {
					routes = append(routes, m.Address)
				}
			}
			slices.Sort(routes)
			if !slices.Equal(routes, known) {
				n.bus.SetRoutes(routes)
				known = routes
			}
		}
		if alone++; len(known) == 0 || n.bus.Status().Routes > 0 {
			alone, told = 0, false
		}
		if alone >= lonelyRounds && !told {
			told = true
			n.plane.log.Warn("no other control plane node is reached by NATS, so that nodes neither give each other keys nor hints: see that these "+
				"addresses resolve and are open to each other (nats_cluster_listen), or set nats_cluster_advertise on their nodes", "addresses", known)
		}
		if !lifecycle.Pause(ctx, routesEvery) {
			return ctx.Err()
		}
	}
}

// checkPeers finds faults in what the settings say of other nodes.
func checkPeers(s cpsettings.ControlPlane) error {
	if s.Database.Engine == "sqlite" || len(s.Peers.URL) == 0 && (s.Peers.ClusterListen == "" || s.Peers.ClusterListen == "off") {
		return nil
	}
	config := externalNATS(s.Peers)
	config.Embedded = &bus.Embedded{Listen: s.Peers.ClusterListen, Advertise: s.Peers.ClusterAdvertise, Routes: s.Peers.ClusterRoutes}
	if err := config.Check(); err != nil {
		return fault.New(fault.Invalid, "app.Run", "NATS", err)
	}
	return nil
}
