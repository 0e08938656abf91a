package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/process"
)

// join asks the running control plane whether a data plane that is new could join right now, and rehearses it where none runs.
func (d *doctoring) join(ctx context.Context) []finding.Finding {
	return one(ctx, "a fresh data plane", "could join right now", func(ctx context.Context) finding.Result {
		if d.running && len(d.settings.StatusListen) > 0 {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			err := process.HTTPProbe("http://" + d.settings.StatusListen[0].Address + "/status/join")(ctx)
			if err != nil {
				return finding.Bad("the running keepgate-cp says: "+err.Error(), "mend what is wrong above; then keepgate-cp reload")
			}
			return finding.Fine("the running keepgate-cp says yes")
		}
		files, ok := d.clusterFiles()
		if !ok {
			return finding.Bad("no: cluster_cert is not set", "keepgate-cp certs init --with-control-plane, and set cluster_cert, cluster_cert_key, cluster_ca_cert and cluster_crl")
		}
		source, err := mtls.OpenWith(files, clusterOptions(d.settings.Cluster, slog.New(slog.DiscardHandler)))
		if err != nil {
			return finding.Because("the cluster certificates")
		}
		result := doctor.Joining(ctx, source)
		if result.Verdict == finding.Wrong && d.unsound {
			return finding.Because("the cluster certificates")
		}
		return result
	})
}

// Joinable is what the status port answers.
func (n node) Joinable(ctx context.Context) error { return n.plane.joining.Now(ctx) }

// Joined is what came of the last attempt.
func (n node) Joined() (at time.Time, err error) {
	if n.plane.links == nil {
		return time.Now(), errNoLinks
	}
	return n.plane.joining.Last()
}

var errNoLinks = errors.New("cluster_cert is not set, so that no data plane can connect")

// settling is how long a start may take to read the database before it is told that nobody could join.
const settling = 10 * time.Second

// knocking tries at intervals whether a data plane that is new could join, and says when that changes.
func (p *plane) knocking(ctx context.Context) error {
	for end := time.Now().Add(settling); len(p.publisher.Environments()) == 0 && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return p.joining.Run(ctx, func(err error) {
		if err != nil {
			p.log.Warn("a data plane that is new could not join now", "why", fault.Text(err))
			return
		}
		p.log.Info("a data plane that is new could join now")
	})
}

// joinable says why a data plane that is new could not join this node right now; nil when it could. It is tried: links
// that stand go on when certificates have expired.
func (p *plane) joinable(ctx context.Context) error {
	if p.links == nil {
		return errNoLinks
	}
	source := p.links.source
	if problem := source.Status().Problem; problem != "" {
		return fmt.Errorf("the cluster certificates on disk are not usable: %s", problem)
	}
	if err := p.knock(ctx, source); err != nil {
		return err
	}
	return p.configured()
}

// knock comes to the cluster listener as a node that joins. Where no edge authority certifies data planes, whose
// certificates are then made with the folder of an authority, it is rehearsed with this node's own.
func (p *plane) knock(ctx context.Context, source *mtls.Source) error {
	if p.authorities == nil || p.authorities.Sequence() == 0 {
		return doctor.Join(ctx, source)
	}
	if err := p.authorities.Ready(); err != nil {
		return errors.New(fault.Text(err))
	}
	root, err := rootOf(source)
	if err != nil {
		return err
	}
	return doctor.Knock(ctx, doctor.Door{
		Address: p.links.listens[0].Addr().String(), Source: source, Root: root, Environment: wire.DefaultEnvironment, Certify: p.authorities.Certify,
	})
}

// configured says whether every environment has a configuration that a data plane would be given.
func (p *plane) configured() error {
	names := p.publisher.Environments()
	if len(names) == 0 {
		return errors.New("there is no configuration to give it yet: the database was not read")
	}
	for _, name := range names {
		if _, ok := p.newest(name); !ok {
			return fmt.Errorf("there is no configuration yet to give to data planes of environment %q", name)
		}
	}
	return nil
}
