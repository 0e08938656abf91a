package app

import (
	"context"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/dataplane/lease"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

// leaseKeyLabel separates the key of the lease's record from whatever else is derived from the cluster key.
const leaseKeyLabel = "lease"

// limit opens the lease of this node's secrets, if they are limited.
func (p *plane) limit() error {
	if p.settings.Keys.Lease == 0 {
		return nil
	}
	who := p.belonging.source.Identity()
	p.lease = lease.Open(p.settings.Keys.Lease, p.connected, lease.Record{
		Path: filepath.Join(p.settings.Store.Folder, "lease"), FS: p.disk, Node: who.Organisation + "/" + who.Environment + "/" + who.Name,
		Key: func() (*aead.Key, error) {
			material, err := p.belonging.source.DeriveKey(leaseKeyLabel, aead.KeySize)
			if err != nil {
				return nil, err
			}
			defer material.Wipe()
			return aead.NewKey(aead.AES256GCM, material)
		},
	}, p.log)
	p.locked.Store(p.lease.Ended())
	return p.metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "keepgate_secrets_lease_remaining_seconds", Help: "How long secrets are used yet without a link to the control plane; at 0 they are locked.",
	}, func() float64 { return p.lease.Left().Seconds() }))
}

// withheld is what must not be used now; nil for nothing.
func (p *plane) withheld() *withholding {
	if !p.locked.Load() {
		return nil
	}
	return p.withholding
}

func (p *plane) connected() bool { return p.uplink != nil && p.uplink.Connected() }

// heard takes note of a control plane's message.
func (p *plane) heard() {
	if p.lease != nil {
		p.lease.Heard()
	}
}

// leased are the parts of a node whose secrets are limited.
func (p *plane) leased() []lifecycle.Part {
	if p.lease == nil || p.uplink == nil {
		return nil
	}
	return []lifecycle.Part{{Name: "lease of secrets", Run: func(ctx context.Context) error {
		return p.lease.Run(ctx, p.locked.Load(), p.turn)
	}}}
}

// turn locks secrets, or uses them again.
func (p *plane) turn(ended bool) {
	p.locked.Store(ended)
	p.refresh()
	if ended {
		p.log.Error("no control plane was heard for longer than secrets_lease: secrets are locked, and what needs one answers 503 until there is a link",
			"after", p.settings.Keys.Lease, "last_heard", p.lease.Contact())
		return
	}
	p.notice("secrets are used again: there is a link to the control plane")
}

// leaseAdvice is what an operator reads of a lease that has ended.
func (p *plane) leaseAdvice() string {
	if p.lease == nil || !p.locked.Load() {
		return ""
	}
	return "no control plane was heard for longer than secrets_lease: secrets are locked, and what needs one answers 503 until there is a link"
}
