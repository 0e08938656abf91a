package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/backend"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/socket"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
)

// Doctor looks at everything that the plugin needs: its certificate, its socket, memory, each node of the control plane and
// the KEK there. It changes nothing, and wraps and unwraps one random secret.
func Doctor(ctx context.Context, s kmssettings.KMS) (findings []finding.Finding) {
	d := &doctor{settings: s}
	pair := &papers.Pair{
		CertSetting: "cluster_cert", KeySetting: "cluster_cert_key", Cert: s.Cluster.Cert, Key: s.Cluster.Key,
		Renew: "keepgate-cp certs issue NAME --role kms", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	steps := append(pair.Steps(), finding.Step{Name: "in use", Needs: []string{"certificate", "key", "dates"}, Do: d.identity})
	findings = append(findings, finding.Run(ctx, "certificate", steps)...)
	findings = append(findings, finding.Run(ctx, "this machine", []finding.Step{
		{Name: "socket", Do: d.socket},
		{Name: "memory", Do: d.memory},
	})...)
	for _, address := range s.Cluster.ControlPlane {
		findings = append(findings, finding.Run(ctx, "control plane "+address, []finding.Step{
			{Name: "answers", Do: func(ctx context.Context) finding.Result { return d.node(ctx, address) }},
			{Name: "KEK", Needs: []string{"answers"}, Do: d.key},
			{Name: "wraps", Needs: []string{"KEK"}, Do: d.wraps},
		})...)
	}
	return findings
}

type doctor struct {
	settings kmssettings.KMS
	source   *mtls.Source // nil when there is none to be had
	follower *kek.Follower
}

func (d *doctor) identity(context.Context) finding.Result {
	source, err := clusterSource(d.settings.Cluster, slog.New(slog.DiscardHandler))
	if err != nil {
		return finding.Bad(fault.Text(err), "mend what cluster_cert, cluster_cert_key, cluster_ca_cert and cluster_crl name"+issueHint)
	}
	d.source = source
	if status := source.Status(); len(status.Notices) > 0 {
		return finding.Beware(status.Notices[0], "renew it: keepgate-cp certs issue NAME --role kms")
	}
	return finding.Fine("%s, for the KEK %s", source.Identity(), kekName(source.Identity()))
}

// socket asks whether somebody serves there, and how.
func (d *doctor) socket(ctx context.Context) finding.Result {
	listen := d.settings.Plugin.Listen
	address, err := kmsclient.SocketOf(listen)
	if err != nil {
		return finding.Bad(fault.Text(err), "correct kms_listen")
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", address)
	if err == nil {
		_ = conn.Close()
	}
	switch {
	case err != nil:
		return finding.Beware("nobody serves "+listen, "start the plugin: keepgate-kms start")
	case socket.IsAbstract(listen):
		return finding.Beware(abstractWarning, "use a socket file, unless the API server's network namespace is its own")
	}
	return finding.Fine("%s is served", listen)
}

func (d *doctor) memory(context.Context) finding.Result {
	status := memguard.Look()
	if len(status.Warnings) > 0 {
		return finding.Beware(status.Warnings[0], "turn swap off or encrypt it, or let the process lock its memory")
	}
	return finding.Fine("core dumps %s, locked %v, swap %s", status.CoreDumps, status.Locked, status.Swap)
}

var errUnproven = errors.New("this plugin's certificate cannot be used")

// node asks one node which keys there are.
func (d *doctor) node(ctx context.Context, address string) finding.Result {
	if d.source == nil {
		return finding.Because(errUnproven.Error())
	}
	one := d.settings.Cluster
	one.ControlPlane = []string{address}
	cp := newBackend(one, d.source, backend.Options{Timeout: 5 * time.Second})
	context.AfterFunc(ctx, cp.Close)
	d.follower = kek.New(cp, kekName(d.source.Identity()), kek.Options{})
	switch err := d.follower.Ask(ctx); fault.KindOf(err) {
	case fault.NotFound:
		return finding.Bad(fault.Text(err), "make the KEK: keepgate-cp kek create "+kekName(d.source.Identity()))
	case fault.Denied:
		return finding.Bad(fault.Text(err), "have the control plane accept this plugin's certificate (role kms, not revoked)")
	case fault.Unavailable:
		return finding.Bad(fault.Text(err), "start the node, or correct cluster_control_plane and cluster_server_name")
	default:
		if err != nil {
			return finding.Bad(fault.Text(err), "name a node of this plugin's control plane and of its version")
		}
	}
	return finding.Fine("it does")
}

func (d *doctor) key(context.Context) finding.Result {
	report := d.follower.Report()
	age := time.Since(report.Current.CreatedAt)
	fact := fmt.Sprintf("%s, generation %d, %d days old; %d keys unwrap", report.Current.ID, report.Current.Generation, int(age/(24*time.Hour)), len(report.Keys))
	if report.IsOld {
		return finding.Beware(fact, "rotate it: keepgate-cp kek rotate "+report.Name)
	}
	return finding.Fine("%s", fact)
}

func (d *doctor) wraps(ctx context.Context) finding.Result {
	began := time.Now()
	if err := d.follower.Try(ctx); err != nil {
		return finding.Bad(fault.Text(err), "see the node's own doctor: keepgate-cp doctor")
	}
	return finding.Fine("a random secret, and unwraps it, in %v", time.Since(began).Round(100*time.Microsecond))
}
