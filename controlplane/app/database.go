package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// OpenStore opens the database that the settings name. Nothing but Status and Migrate works on one that is not
// migrated. With readOnly it may be in use by a running control plane.
func OpenStore(ctx context.Context, s cpsettings.ControlPlane, readOnly bool) (record.Store, error) {
	return openStore(ctx, s, readOnly, slog.New(slog.DiscardHandler))
}

func openStore(ctx context.Context, s cpsettings.ControlPlane, readOnly bool, log *slog.Logger) (record.Store, error) {
	if s.Database.Engine == "sqlite" {
		return sqlite.Open(ctx, sqlite.Config{Path: s.Database.SQLitePath, ReadOnly: readOnly})
	}
	if err := checkTLS(s.Database); err != nil {
		return nil, err
	}
	config, err := Postgres(s.Database.Postgres)
	if err != nil {
		return nil, err
	}
	if readOnly {
		config.Server.Target = dial.Any
	}
	if config.Replica, err = replica(s.Database.Postgres, s.Database.Replica); err != nil {
		return nil, err
	}
	config.Server.Warn = func(text string) { log.Warn(text) }
	if config.Replica != nil {
		config.Replica.Server.Warn = config.Server.Warn
	}
	return postgres.Open(ctx, config)
}

// Postgres is how PostgreSQL is reached by these settings.
func Postgres(pg cpsettings.Postgres) (postgres.Config, error) { return postgresAt("pg_host", pg) }

func postgresAt(key string, pg cpsettings.Postgres) (postgres.Config, error) {
	hosts, err := hostsOf(key, pg.Host, pg.Port)
	config := postgres.Config{
		User: pg.User, Database: pg.Name, Schema: pg.Schema, Timeout: pg.Timeout, PoolSize: pg.PoolSize, Idle: pg.Idle,
		Server: dial.Options{
			Hosts: hosts, Target: dial.Target(pg.Target), Password: pg.Password, PasswordFile: pg.PasswordFile, PasswordSource: known(pg.PasswordSource),
			TLS: pg.SSL, Optional: !pg.SSLRequired.Or(true), Verify: pg.SSLVerify.Or(true), MinVersion: leastTLS(pg.SSLVersion),
			Trusted: pg.Trusted, Depth: pg.VerifyDepth, Cert: pg.SSLCert, Key: pg.SSLKey, CRL: pg.SSLCRL,
		},
	}
	return config, err
}

// known is the value that is known of a setting that is a reference; nil of one that is none.
func known(source settings.Source) func() (secret.Bytes, error) {
	if source == nil {
		return nil
	}
	return source.Known
}

// replica is how the standby for lists is reached, or nil.
func replica(pg cpsettings.Postgres, ro cpsettings.Replica) (*postgres.Config, error) {
	if len(ro.Host) == 0 {
		return nil, nil
	}
	pg.Host, pg.Target = ro.Host, string(dial.Any)
	pg.Port, pg.Timeout, pg.PoolSize = cmp.Or(ro.Port, pg.Port), cmp.Or(ro.Timeout, pg.Timeout), cmp.Or(ro.PoolSize, pg.PoolSize)
	pg.User, pg.Name, pg.Schema = cmp.Or(ro.User, pg.User), cmp.Or(ro.Name, pg.Name), cmp.Or(ro.Schema, pg.Schema)
	pg.SSLVersion, pg.SSL = cmp.Or(ro.SSLVersion, pg.SSLVersion), ro.SSL.Or(pg.SSL)
	if ro.Password.Len() > 0 {
		pg.Password, pg.PasswordFile, pg.PasswordSource = ro.Password, ro.PasswordFile, ro.PasswordSource
	}
	if ro.SSLRequired.Given() {
		pg.SSLRequired = ro.SSLRequired
	}
	if ro.SSLVerify.Given() {
		pg.SSLVerify = ro.SSLVerify
	}
	for _, asked := range []struct {
		is  bool
		key string
	}{{ro.SSLVerify.Or(false), "pg_ro_ssl_verify"}, {ro.SSLRequired.Or(false), "pg_ro_ssl_required"}} {
		if asked.is && !pg.SSL {
			return nil, fault.Newf(fault.Invalid, "app.Run", "settings", "%s needs pg_ro_ssl = on", asked.key)
		}
	}
	config, err := postgresAt("pg_ro_host", pg)
	return &config, err
}

func leastTLS(word string) uint16 {
	if word == "tlsv1_3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// hostsOf reads a list of hosts, each with a port of its own or without.
func hostsOf(key string, list []string, port int) (hosts []dial.Host, err error) {
	for _, entry := range list {
		host := dial.Host{Name: entry, Port: port}
		name, own, cutErr := net.SplitHostPort(entry)
		switch {
		case strings.HasPrefix(entry, "/") || net.ParseIP(entry) != nil:
		case cutErr == nil:
			if host.Port, err = strconv.Atoi(own); err != nil || host.Port < 1 || host.Port > 65535 || name == "" {
				return nil, fault.Newf(fault.Invalid, "app.Run", key, "%q is no host:port", entry)
			}
			host.Name = name
		case strings.ContainsAny(entry, ":/[] "):
			return nil, fault.Newf(fault.Invalid, "app.Run", key, "%q is no host, host:port or folder of a UNIX socket", entry)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// checkTLS refuses settings that promise TLS to the database while it is off, and what cannot work.
func checkTLS(s cpsettings.Database) error {
	if s.Engine != "postgres" {
		return nil
	}
	pg := s.Postgres
	config, err := Postgres(pg)
	if err == nil {
		_, err = dial.New(config.Server)
	}
	if err != nil {
		return fault.New(fault.Invalid, "app.Run", "settings", err)
	}
	if pg.SSL {
		return nil
	}
	for _, asked := range []struct {
		is  bool
		key string
	}{
		{pg.SSLVerify.Or(false), "pg_ssl_verify"},
		{pg.SSLRequired.Or(false), "pg_ssl_required"},
		{pg.SSLCert != "", "pg_ssl_cert"},
		{pg.SSLKey != "", "pg_ssl_cert_key"},
		{pg.SSLCRL != "", "pg_ssl_crl_file"},
	} {
		if asked.is {
			return fault.Newf(fault.Invalid, "app.Run", "settings", "%s needs pg_ssl = on", asked.key)
		}
	}
	return nil
}

// migrated makes sure that the database is one this program can use. An empty database, and the embedded one of
// a single node, are migrated right away; any other waits for the operator, since other nodes may be using it.
func migrated(ctx context.Context, store record.Store, engine string, log *slog.Logger) error {
	schema, err := store.Status(ctx)
	if err != nil {
		return err
	}
	if schema.Current() {
		return nil
	}
	if !schema.First() && engine != "sqlite" {
		return fault.Newf(fault.Denied, "app.Run", "database",
			"it is of version %d and this program needs %d (%s); run: keepgate-cp migrate up",
			schema.Stored, schema.Known, strings.Join(schema.Pending, ", "))
	}
	if err := store.Migrate(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	log.Info("database migrated", "from", schema.Stored, "to", schema.Known)
	return nil
}
