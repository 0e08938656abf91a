// Package app builds the plugin of its parts, by hand and in order, and runs them.
//
// The socket is opened whether or not the control plane answers: an API server that starts meanwhile heals by itself when
// it does. Nothing is kept on disk but which key was current last.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/keepgate/keepgate/controlplane/kmsplugin/backend"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kek"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/kubeapi"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/socket"
	"github.com/keepgate/keepgate/controlplane/kmsplugin/statusport"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/kmssettings"
	"github.com/keepgate/keepgate/shared/telemetry"
	"github.com/keepgate/keepgate/shared/version"
)

// plugin is the plugin once everything is opened.
type plugin struct {
	settings  kmssettings.KMS
	effective *settings.Loaded
	level     *slog.LevelVar
	log       *slog.Logger
	source    *mtls.Source
	backend   *backend.Backend
	follower  *kek.Follower
	metrics   *statusport.Metrics
	socket    *socket.Socket
	server    *grpc.Server
	operators []net.Listener
}

// Run runs the plugin until ctx ends.
func Run(ctx context.Context, instance *process.Instance, s kmssettings.KMS, loaded *settings.Loaded) error {
	p := &plugin{settings: s, effective: loaded, level: new(slog.LevelVar)}
	if err := p.setLevel(s.Process.LogLevel); err != nil {
		return err
	}
	p.log = telemetry.NewLogger(os.Stderr, telemetry.Options{Level: p.level, JSON: s.Process.LogFormat == "json"})
	loaded.Log(p.log)
	memguard.Look().Log(p.log)
	if err := p.open(); err != nil {
		return err
	}
	defer p.backend.Close()
	err := p.run(ctx, instance)
	if err == nil {
		p.notice("stopped")
	}
	return err
}

// notice says what an operator wants to know at the default level.
func (p *plugin) notice(message string, args ...any) {
	p.log.Log(context.Background(), telemetry.LevelNotice, message, args...)
}

func (p *plugin) setLevel(name string) error {
	level, err := telemetry.ParseLevel(name)
	if err == nil {
		p.level.Set(level)
	}
	return err
}

// open makes the parts. The socket comes last: what fails before it leaves no file behind.
func (p *plugin) open() (err error) {
	if p.source, err = clusterSource(p.settings.Cluster, p.log); err != nil {
		return err
	}
	name := kekName(p.source.Identity())
	p.metrics = statusport.NewMetrics(p, version.Text)
	p.backend = newBackend(p.settings.Cluster, p.source, backend.Options{Log: p.log, Observe: p.metrics.Asked})
	p.follower = kek.New(p.backend, name, kek.Options{
		Log: p.log, Mark: kek.MarkFile{Path: filepath.Join(p.settings.Process.Prefix, "kms.mark"), Log: p.log},
	})
	api := kubeapi.New(p.backend, p.follower, kubeapi.Options{V1: p.settings.Plugin.V1, Log: p.log, Observe: p.metrics.Called})
	p.server = api.Server()
	for _, at := range p.settings.StatusListen {
		l, err := net.Listen("tcp", at.Address)
		if err != nil {
			return fmt.Errorf("status_listen: %w; if another program has the port, change status_listen", err)
		}
		p.operators = append(p.operators, l)
	}
	if socket.IsAbstract(p.settings.Plugin.Listen) {
		p.log.Warn(abstractWarning)
	}
	if p.settings.Plugin.V1 {
		p.log.Warn("KMS v1 is served too (kms_v1): Kubernetes has deprecated it; move what it wrote to v2 and switch it off")
	}
	p.socket, err = socket.Open(p.settings.Plugin.Listen, p.log)
	return err
}

const abstractWarning = "kms_listen is an abstract socket, which has no owner and no file mode: every process of this network namespace can dial it " +
	"(with host networking, the whole host); connections of other users than root and this one are closed"

// run serves until ctx ends.
func (p *plugin) run(ctx context.Context, instance *process.Instance) error {
	operator := &http.Server{
		Handler:           statusport.Handler(p, statusport.Facts{Version: version.Text, Socket: p.settings.Plugin.Listen, V1: p.settings.Plugin.V1}, p.metrics.Gatherer()),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelInfo),
	}
	parts := []lifecycle.Part{
		{Name: "cluster certificates", Run: p.source.Run},
		{Name: "KEK", Run: p.follower.Run},
		{Name: "reload", Run: func(ctx context.Context) error { return p.reload(ctx, instance) }},
		{Name: "stop", Run: func(ctx context.Context) error {
			<-ctx.Done()
			p.drain()
			return errors.Join(operator.Close(), ctx.Err())
		}},
		{Name: "socket", Run: func(ctx context.Context) error {
			defer p.socket.Close()
			if err := p.server.Serve(p.socket); err != nil && ctx.Err() == nil {
				return err
			}
			return ctx.Err()
		}},
	}
	for _, l := range p.operators {
		parts = append(parts, lifecycle.Part{Name: "status listener", Run: func(ctx context.Context) error {
			if err := operator.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return ctx.Err()
		}})
	}
	p.notice("serving API servers", "socket", p.settings.Plugin.Listen, "kek", kekName(p.source.Identity()), "v1", p.settings.Plugin.V1)
	if err := instance.Ready(); err != nil {
		return errors.Join(fmt.Errorf("saying that the plugin serves: %w", err), p.socket.Close())
	}
	return lifecycle.Run(ctx, parts...)
}

// drainTime is how long calls that are under way may take when the plugin stops; none takes longer than the backend does.
const drainTime = 3 * time.Second

func (p *plugin) drain() {
	late := time.AfterFunc(drainTime, p.server.Stop)
	defer late.Stop()
	p.server.GracefulStop()
}

// reload answers SIGHUP: certificates are read again, and the log's level. Everything else needs a restart.
func (p *plugin) reload(ctx context.Context, instance *process.Instance) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-instance.Reloads():
		}
		p.resettle(instance)
		if err := p.source.Reload(); err != nil {
			p.log.Error("the cluster certificates on disk are not usable; going on with those in use", "error", err)
		}
		p.follower.Doubt()
		p.log.Info("reloaded")
	}
}

// resettle applies what can change while running, and says what else changed.
func (p *plugin) resettle(instance *process.Instance) {
	again, err := instance.Reread()
	if err != nil {
		p.log.Error("the settings are not usable now; going on with those in effect", "error", err)
		return
	}
	var waiting []string
	for _, setting := range p.effective.Changed(again) {
		if setting.Key != "log_level" {
			waiting = append(waiting, setting.Key)
		} else if err := p.setLevel(setting.Value); err != nil {
			p.log.Error("the log's level was not changed", "error", err)
		}
	}
	if len(waiting) > 0 {
		p.log.Warn("these settings changed and take effect at the next start", "keys", waiting)
	}
}

// Report is what the status port shows of the KEK.
func (p *plugin) Report() kek.Report { return p.follower.Report() }

// Node is the node of the control plane that answered last.
func (p *plugin) Node() string { return p.backend.Node() }

// Certificates says who the plugin is.
func (p *plugin) Certificates() mtls.Status { return p.source.Status() }

// Probe asks a running plugin, at its status port, whether all is well.
func Probe(s kmssettings.KMS) process.Probe {
	if len(s.StatusListen) == 0 {
		return func(context.Context) error { return nil }
	}
	return process.HTTPProbe("http://" + s.StatusListen[0].Address + "/status/ready")
}
