package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/keepgate/keepgate/dataplane/enrol"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// belonging is who this node is in its cluster, or that it is nobody there any more.
type belonging struct {
	folder *enrol.Folder
	joined bool          // the identity is the folder's, and not files that an operator keeps
	source *mtls.Source  // nil where there is no identity left
	member *enrol.Member // nil where this node was shut out before it started
	wiped  *enrol.Wiped  // not nil: it was
	shut   chan struct{} // closed once nothing is served any more because it was
	once   sync.Once     // for that
}

// belong reads who this node is. Nothing that it holds is touched before that is known.
func (p *plane) belong() (err error) {
	c := p.settings.Cluster
	b := &p.belonging
	b.shut = make(chan struct{})
	b.folder = enrol.AtOn(p.disk, c.Enrolment)
	b.joined = joins(c)
	serial := ""
	if !b.joined {
		if b.source, err = clusterSource(c, p.log); err != nil {
			return err
		}
		serial = b.source.Identity().Serial
	} else if err := checkAddresses(c.ControlPlane); err != nil {
		return fault.New(fault.Invalid, "app.Run", "cluster_control_plane", err)
	}
	standing, err := b.folder.Look(serial)
	if err != nil {
		return fmt.Errorf("looking whether this node was shut out: %w", err)
	}
	if b.wiped = standing.Wiped; b.wiped != nil {
		return nil
	}
	if b.joined {
		if b.source, err = joinedSource(b.folder, standing, p.log); err != nil {
			return err
		}
	}
	if b.wiped = enrol.Listed(b.source); b.wiped != nil {
		return nil
	}
	options := enrol.Options{Log: p.log}
	if b.joined {
		b.member = enrol.Joined(b.folder, b.source, holdings{p}, options)
	} else {
		b.member = enrol.Appointed(b.folder, b.source, c.Cert, holdings{p}, options)
	}
	return nil
}

func joinedSource(folder *enrol.Folder, standing enrol.Standing, log *slog.Logger) (*mtls.Source, error) {
	const op = "app.Run"
	if !standing.Joined {
		return nil, fault.Newf(fault.Invalid, op, "cluster_cert",
			"this node has no certificate: join (keepgate-dp join, with the line that keepgate-cp fleet invite prints), or set cluster_cert, cluster_cert_key and cluster_ca_cert%s", requestHint)
	}
	source, err := folder.Open(log)
	if err != nil {
		return nil, fmt.Errorf("reading what this node joined with, in %s (to join anew: keepgate-dp join --again): %w", folder.Dir(), err)
	}
	if role := source.Identity().Role; role != identity.DataPlane {
		return nil, fault.Newf(fault.Invalid, op, "cluster_enrolment", "it is a certificate of role %s", role)
	}
	return source, nil
}

// environment is this node's, "" where it is nobody any more.
func (b *belonging) environment() string {
	if b.source == nil {
		return ""
	}
	return b.source.Identity().Environment
}

// endBefore is for a node that was shut out before this start: what is left of it is erased, and it serves nothing.
func (p *plane) endBefore() {
	w := *p.belonging.wiped
	p.log.Error("this node was shut out of its cluster and serves nothing", "identity", w.Identity, "reason", w.Reason, "advice", w.Advice(p.belonging.joined))
	if err := enrol.End(p.belonging.folder, holdings{p}, p.belonging.joined, w); err != nil {
		p.log.Error("not all could be erased; what is left is erased at the next start", "error", err)
	}
}

// tidy destroys keys that the local store needs no longer, where a renewal was cut short.
func (p *plane) tidy() {
	if status := p.store.Report().Status; !p.belonging.joined || status == localstore.Unopenable {
		return
	}
	others, err := p.belonging.folder.OtherKeys()
	if err == nil && len(others) > 0 {
		err = p.applier.Rewrite()
	}
	if err == nil {
		err = p.belonging.folder.Prune()
	}
	if err != nil {
		p.log.Warn("keys of former certificates stay until the next start", "error", err)
	}
}

// holdings is what this node keeps under its key: the local store, and what it serves.
type holdings struct{ p *plane }

// Rewrap implements [enrol.Holdings].
func (h holdings) Rewrap(key string, former []string) error {
	current, err := privatekey.DeriveFile(key, storeKeyLabel, 32)
	if err != nil {
		return err
	}
	older, err := olderKeys(append(former, previousKeys(h.p.settings.Cluster)...))
	if err != nil {
		return err
	}
	return h.p.rewrap(func() (*localkeys.Ring, error) { return localkeys.New(current, older...) })
}

// Erase implements [enrol.Holdings].
func (h holdings) Erase(enrol.Wiped) error {
	p := h.p
	shut := table.NewShut(&plugin.Refusal{Status: 503, Message: "this data plane was shut out of its cluster"})
	p.applier.End(func() {
		shut.Plugins.Complete(p.tables.Current().Plugins.SecretParameters()) // clients send keys on, and logs must not show them
		p.tables.Swap(shut)
		p.pools.Follow(upstream.Leads{})
	})
	p.belonging.once.Do(func() { close(p.belonging.shut) })
	p.forgetSecrets()
	p.forgetKeys()
	defer debug.FreeOSMemory() // what the tables held is gone for good that much sooner
	if p.store == nil {
		return errors.Join(localstore.Erase(p.settings.Store.Folder), p.eraseCache())
	}
	return errors.Join(p.store.Erase(), p.eraseCache())
}

// follow runs the source until this node is nobody any more: what it reads is gone then. It fails when this node has
// become another environment's.
func (p *plane) follow(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	var moved error
	var watching sync.WaitGroup
	watching.Go(func() {
		defer stop()
		moved = p.belonging.stays(reading)
	})
	err := p.belonging.source.Run(reading)
	stop()
	watching.Wait()
	if moved != nil {
		return moved
	}
	<-ctx.Done()
	return err
}

// stays returns nil when this node is nobody any more or ctx ends, and an error when it was given a certificate of another
// environment or organisation: what it holds and serves is then not its own, and its store is bound to who it was.
func (b *belonging) stays(ctx context.Context) error {
	was := b.source.Identity()
	for {
		changed := b.source.Changed()
		if is := b.source.Identity(); is.Organisation != was.Organisation || is.Environment != was.Environment {
			return fault.Newf(fault.Conflict, "app.Run", "cluster_cert", "this node was %s and now has the certificate of %s: it ends, and serves what that one is given when it is started again", was, is)
		}
		if b.member.Listed() {
			return nil
		}
		select {
		case <-changed:
		case <-b.member.Ended():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// standing is how this node stands in its cluster.
func (p *plane) standing() enrol.Status {
	if b := &p.belonging; b.member == nil {
		return enrol.Status{Identity: b.wiped.Identity, Joined: b.joined, Wiped: b.wiped, Advice: b.wiped.Advice(b.joined)}
	}
	s := p.belonging.member.Status()
	if s.Advice == "" && p.uplink != nil {
		if why := p.uplink.Refused(); why != "" {
			s.Advice = "the control plane refuses this node: " + why
		}
	}
	if s.Advice == "" {
		s.Advice = p.leaseAdvice()
	}
	return s
}

// reread has the source look at its files now.
func (p *plane) reread() {
	if p.belonging.member == nil || p.belonging.member.Status().Wiped != nil {
		return
	}
	if err := p.belonging.source.Reload(); err != nil {
		p.log.Error("the cluster certificates on disk are not usable; going on with those in use", "error", err)
	}
}
