package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor"
	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/publish"
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
		source, err := mtls.Open(files)
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
func (n node) Joinable(ctx context.Context) error { return n.plane.joinable(ctx) }

// joinable says why a data plane that is new could not join this node right now; nil when it could.
func (p *plane) joinable(ctx context.Context) error {
	if p.links == nil {
		return errors.New("cluster_cert is not set, so that no data plane can connect")
	}
	if problem := p.links.source.Status().Problem; problem != "" {
		return fmt.Errorf("the cluster certificates on disk are not usable: %s", problem)
	}
	if err := doctor.Join(ctx, p.links.source); err != nil {
		return err
	}
	if _, ok := p.newest(publish.DefaultEnvironment); !ok {
		return errors.New("there is no configuration to give it yet")
	}
	return nil
}
