package app

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/shared/version"
)

// say is what this node's lease says.
func (n *peers) say() members.Say {
	p := n.plane
	say := members.Say{
		Node: p.id, Name: p.hostname, Hostname: p.hostname, Version: version.Text, Address: n.advertised(),
		Started: n.started.Unix(), Strategy: keyring.Off, Joined: true, Decrypts: p.settings.Keyring.DecryptAll,
	}
	if n.identity != nil {
		identity := n.identity.source.Identity()
		say.Name, say.CertificateExpires = identity.Name, identity.NotAfter.Unix()
	}
	if strategy := strategyOf(p.settings); strategy != "" {
		say.Strategy, say.Joined = strategy, false
	}
	if p.ring != nil {
		say.Sequence, say.Holds, say.Joined = p.ring.Presence()
	}
	if trust := n.trust.Load(); trust != nil {
		say.Trust = trust.say()
	}
	for name, ring := range n.rings.all() {
		var said members.Ring
		said.Sequence, said.Holds, said.Joined = ring.Presence()
		if say.Rings == nil {
			say.Rings = map[string]members.Ring{}
		}
		say.Rings[name] = said
	}
	if chains := n.chains.Load(); chains != nil {
		say.Reads, say.Writes = chains.Reads, chains.Writes
	}
	return say
}

// Live are the nodes that live, as the keyring asks for them.
func (n *peers) Live(ctx context.Context) (live []keyring.Member, err error) {
	all, err := n.members.Live(ctx)
	for _, m := range all {
		live = append(live, keyring.Member{Node: m.Node, Name: m.Name, Sequence: m.Sequence, Holds: m.Holds, Joined: m.Joined})
	}
	return live, err
}

// announce lets the others know that this node's ring has changed. It waits for nothing.
func (n *peers) announce() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}
