package app

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/publish"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
	"github.com/keepgate/keepgate/shared/selfsigned"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/telemetry"
	"github.com/keepgate/keepgate/shared/version"
)

// admin opens the Admin API's sockets and returns what serves them.
func (p *plane) admin() (lifecycle.Part, error) {
	s := p.settings.Admin
	api, err := p.adminAPI()
	if err != nil {
		return lifecycle.Part{}, err
	}
	cert, err := adminCertificate(p.settings, p.log)
	if err != nil {
		return lifecycle.Part{}, err
	}
	var endpoints []admin.Endpoint
	for _, at := range s.Listen {
		socket, err := listen("admin_listen", at.Address)
		if err != nil {
			return lifecycle.Part{}, err
		}
		endpoint := admin.Endpoint{Listener: socket, HTTP2: at.HTTP2}
		if at.TLS {
			endpoint.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		}
		endpoints = append(endpoints, endpoint)
	}
	return lifecycle.Part{Name: "Admin API", Run: func(ctx context.Context) error { return api.Serve(ctx, endpoints...) }}, nil
}

func (p *plane) adminAPI() (*admin.Server, error) {
	s := p.settings
	token, notice, err := admin.LoadToken(s.Admin.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("admin_token_file: %w", err)
	}
	if notice != "" {
		p.log.Warn(notice)
	}
	deps := admin.Deps{
		Catalog: p.catalog, Fleet: p.fleet, Newest: p.newest, AcceptRestore: p.acceptRestore, Level: logLevel{p.level},
		Wake: p.feed.Wake, Token: token, Log: p.log,
	}
	if p.ring != nil {
		deps.Keyring = p.ring
	}
	return admin.New(deps, admin.Options{
		Version: version.Text, NodeID: p.id, Hostname: p.hostname, Configuration: p.configuration(), HeaderNames: s.Admin.HeaderNames,
		AllowedHosts: s.Admin.AllowedHosts, AllowedOrigins: s.Admin.AllowedOrigins, PurgeDelay: s.Cluster.PurgeDelay,
	})
}

// configuration is the effective settings as GET / shows them: secrets are hidden already.
func (p *plane) configuration() map[string]any {
	shown := map[string]any{}
	for _, setting := range p.effective.Settings {
		shown[setting.Key] = setting.Value
	}
	return shown
}

func (p *plane) newest() (epoch, number uint64, hash string, ok bool) {
	epoch, number, sum, ok := p.publisher.Current(publish.DefaultEnvironment)
	return epoch, number, hex.EncodeToString(sum[:]), ok
}

// acceptRestore tells data planes that the database's history began anew.
func (p *plane) acceptRestore(ctx context.Context) (epoch uint64, err error) {
	epoch, err = publish.RaiseEpoch(ctx, p.store)
	if err == nil {
		p.publisher.Reload()
	}
	return epoch, err
}

// logLevel is the log's level by Kong's names.
type logLevel struct{ *slog.LevelVar }

func (l logLevel) Name() string { return telemetry.LevelName(l.Level()) }

func (l logLevel) Set(name string) error {
	level, err := telemetry.ParseLevel(name)
	if err == nil {
		l.LevelVar.Set(level)
	}
	return err
}

// givenCertificate reads the certificate that the settings name for the Admin API; nil when they name none.
func givenCertificate(s cpsettings.Admin) (*tls.Certificate, error) {
	if s.SSLCert == "" && s.SSLKey == "" {
		return nil, nil
	}
	if s.SSLCert == "" || s.SSLKey == "" {
		return nil, fault.Newf(fault.Invalid, "app.Run", "admin_ssl_cert", "admin_ssl_cert and admin_ssl_cert_key belong together; set both or none")
	}
	cert, err := tls.LoadX509KeyPair(s.SSLCert, s.SSLKey)
	if err != nil {
		return nil, fault.New(fault.Invalid, "app.Run", "admin_ssl_cert", err)
	}
	return &cert, nil
}

// adminCertificate is what the Admin API's TLS listeners show; nil when there are none.
func adminCertificate(s cpsettings.ControlPlane, log *slog.Logger) (*tls.Certificate, error) {
	if cert, err := givenCertificate(s.Admin); cert != nil || err != nil {
		return cert, err
	}
	for _, at := range s.Admin.Listen {
		if !at.TLS {
			continue
		}
		dir := filepath.Join(s.Process.Prefix, "ssl")
		cert, made, err := selfsigned.Load(dir, "keepgate-admin")
		if made {
			log.Warn("made a self-signed certificate for the Admin API; set admin_ssl_cert and admin_ssl_cert_key", "folder", dir)
		}
		return &cert, err
	}
	return nil, nil
}
