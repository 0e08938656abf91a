package main

import (
	"fmt"
	"net"

	"github.com/keepgate/keepgate/e2e/harness"
)

// idlePeers weighs the peers with as many idle connections as we had. Each begins anew for each kind, on its one core, and answers the first
// request of a connection as it does in the section of peers. Nginx and HAProxy are told to take as many.
func (b *bench) idlePeers(n int, ours map[string]float64) {
	for _, kind := range idleKinds() {
		f := b.peersFixture()
		for _, start := range []func(*peersFixture) peer{b.nginxPeer, b.haproxyPeer, b.caddyPeer, b.traefikPeer} {
			p := start(f)
			address := p.ports[kind.over].String()
			harness.Eventually(b, p.name, func() string { // they listen before they are ready
				closeOne, err := openIdle(1, func() (net.Conn, error) { return kind.dial(address) })
				closeOne()
				if err != nil {
					return err.Error()
				}
				return ""
			})
			closeAll := b.openIdle(n, func() (net.Conn, error) { return kind.dial(address) })
			theirs := b.settled(p.pid)
			closeAll()
			b.report.add(figure{
				Name: fmt.Sprintf("%d idle %s connections: keepgate against %s", n, kind.name, p.name), Value: ours[kind.name] / theirs, Unit: "× " + p.name,
				Note: fmt.Sprintf("RSS; %s has %.0f MiB", p.name, theirs/1024),
			})
		}
	}
}
