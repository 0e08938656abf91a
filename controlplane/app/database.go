package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// OpenStore opens the database that the settings name. Nothing but Status and Migrate works on one that is not
// migrated. With readOnly it may be in use by a running control plane.
func OpenStore(ctx context.Context, s cpsettings.ControlPlane, readOnly bool) (record.Store, error) {
	if s.Database.Engine == "sqlite" {
		return sqlite.Open(ctx, sqlite.Config{Path: s.Database.SQLitePath, ReadOnly: readOnly})
	}
	if err := checkTLS(s.Database); err != nil {
		return nil, err
	}
	pg := s.Database.Postgres
	config := postgres.Config{
		Host: pg.Host, Port: pg.Port, User: pg.User, Password: pg.Password, Database: pg.Name, Schema: pg.Schema, Timeout: pg.Timeout,
		SSL: pg.SSL, SSLRequired: pg.SSLRequired, SSLVerify: pg.SSLVerify, Cert: pg.SSLCert, Key: pg.SSLKey,
		Trusted: pg.Trusted, Depth: pg.VerifyDepth,
	}
	if pg.SSLVersion == "tlsv1_3" {
		config.MinVersion = tls.VersionTLS13
	}
	return postgres.Open(ctx, config)
}

// checkTLS refuses settings that promise TLS to the database while it is off.
func checkTLS(s cpsettings.Database) error {
	pg := s.Postgres
	if s.Engine != "postgres" || pg.SSL {
		return nil
	}
	for _, asked := range []struct {
		is  bool
		key string
	}{
		{pg.SSLVerify, "pg_ssl_verify"},
		{pg.SSLRequired, "pg_ssl_required"},
		{pg.SSLCert != "", "pg_ssl_cert"},
		{pg.SSLKey != "", "pg_ssl_cert_key"},
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
