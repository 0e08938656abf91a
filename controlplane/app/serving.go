package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/process"
	"github.com/keepgate/keepgate/shared/version"
)

// serving opens the sockets of the Admin API and of the status port, and returns what serves them.
func (p *plane) serving(ctx context.Context, instance *process.Instance, links *links) ([]lifecycle.Part, error) {
	api, err := p.admin(ctx)
	if err != nil {
		return nil, err
	}
	parts := []lifecycle.Part{api}
	server := &http.Server{
		Handler: health.Handler(node{p}, version.Text), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	for _, at := range p.settings.StatusListen {
		socket, err := listen("status_listen", at.Address)
		if err != nil {
			return nil, err
		}
		parts = append(parts, lifecycle.Part{Name: "status listener", Run: func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = server.Close() })
			defer stop()
			if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return ctx.Err()
		}})
	}
	return append(parts, lifecycle.Part{Name: "reload", Run: func(ctx context.Context) error {
		if err := instance.Ready(); err != nil {
			return fmt.Errorf("saying that this node serves: %w", err)
		}
		return p.reload(ctx, instance, links)
	}}), nil
}

// reload answers SIGHUP: the log level and certificates are read again, and key material that was put back.
// Everything else needs a restart, and is named.
func (p *plane) reload(ctx context.Context, instance *process.Instance, links *links) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-instance.Reloads():
		}
		p.resettle(instance)
		p.reloadAdminCertificate()
		p.licenses.Wake()
		p.providers.ask()
		if links != nil {
			if err := links.source.Reload(); err != nil {
				p.log.Error("the cluster certificates on disk are not usable; going on with those in use", "error", err)
			}
		}
		if p.ring != nil {
			if err := p.ring.Reload(ctx); err != nil {
				p.log.Error("the keyring was not read again; going on with the keys that are held", "error", err)
			}
		}
		if p.vault != nil {
			p.vault.Wake()
		}
		p.log.Info("reloaded")
	}
}

// resettle applies what can change while running, and says what else changed.
func (p *plane) resettle(instance *process.Instance) {
	again, err := instance.Reread()
	if err != nil {
		p.log.Error("the settings are not usable now; going on with those in effect", "error", err)
		return
	}
	for _, setting := range again.Settings {
		if setting.Key == "log_level" {
			_ = (logLevel{p.level}).Set(setting.Value) // one of the words it may be, or it were not read
		}
	}
	var waiting []string
	for _, setting := range p.effective.Changed(again) {
		if setting.Key != "log_level" {
			waiting = append(waiting, setting.Key)
		}
	}
	if len(waiting) > 0 {
		p.log.Warn("these settings changed and take effect at the next start", "keys", waiting)
	}
}

// node is what the status port says of this control plane.
type node struct{ plane *plane }

func (n node) Head(ctx context.Context) (uint64, error) { return n.plane.store.Head(ctx) }

func (n node) ID() string { return n.plane.id }

func (n node) Seen() uint64 { return n.plane.publisher.Seen() }

func (n node) Linked() int { return n.plane.fleet.Linked() }

func (n node) Keyring() string { return fault.Text(n.plane.providers.writable()) }

// Plugins are the KMS plugins of the configuration.
func (n node) Plugins() health.Plugins { return n.plane.providers.checks() }

// Collectors are the metrics of encryption, and of the keys of Kubernetes clusters.
func (n node) Collectors() []prometheus.Collector {
	return append(n.plane.providers.collectors(), n.plane.keks.Collector())
}

func (n node) Kept() (rows int, keys map[string]int) {
	kept := n.plane.publisher.Kept()
	return kept.Rows, kept.Keys
}

func (n node) License() (state, expires string) {
	status := n.plane.licenses.Status()
	return string(status.State), status.Expires
}
