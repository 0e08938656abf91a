package app

import (
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// staged is a database at some version.
type staged struct {
	record.Store
	schema   record.Schema
	migrated bool
}

func (s *staged) Status(context.Context) (record.Schema, error) { return s.schema, nil }

func (s *staged) Migrate(context.Context) error {
	s.migrated = true
	return nil
}

func TestMigratedAtStart(t *testing.T) {
	t.Parallel()
	pending := []string{"0002_second"}
	tests := map[string]struct {
		engine  string
		schema  record.Schema
		migrate bool
		advice  bool
	}{
		"an empty PostgreSQL":    {engine: "postgres", schema: record.Schema{Known: 2, Pending: pending}, migrate: true},
		"an older PostgreSQL":    {engine: "postgres", schema: record.Schema{Stored: 1, Known: 2, Pending: pending}, advice: true},
		"a current PostgreSQL":   {engine: "postgres", schema: record.Schema{Stored: 2, Known: 2}},
		"an older embedded file": {engine: "sqlite", schema: record.Schema{Stored: 1, Known: 2, Pending: pending}, migrate: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &staged{schema: test.schema}
			err := migrated(t.Context(), store, test.engine, slog.New(slog.DiscardHandler))
			if store.migrated != test.migrate || !test.advice && err != nil {
				t.Errorf("migrated = %v, and migrating ran: %v", err, store.migrated)
			}
			if test.advice && (fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "keepgate-cp migrate up") || !strings.Contains(err.Error(), "0002_second")) {
				t.Errorf("migrated = %v, want denied with what to run", err)
			}
		})
	}
}

// TestPostgresSettings reads settings as they are written, and finds what they come to.
func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		flags map[string]string
		check func(main postgres.Config, ro *postgres.Config) bool
	}{
		"secure by default": {nil, func(main postgres.Config, ro *postgres.Config) bool {
			s := main.Server
			return s.TLS && s.Verify && !s.Optional && s.MinVersion == tls.VersionTLS12 && s.Target == dial.ReadWrite && ro == nil
		}},
		"off": {map[string]string{"pg_ssl": "off"}, func(main postgres.Config, _ *postgres.Config) bool { return !main.Server.TLS }},
		"as little as can be": {
			map[string]string{"pg_ssl_required": "off", "pg_ssl_verify": "off"},
			func(main postgres.Config, _ *postgres.Config) bool {
				return main.Server.Optional && !main.Server.Verify
			},
		},
		"several hosts": {map[string]string{"pg_host": "a, b:6000, [::1]:7000, /run/pg"}, func(main postgres.Config, _ *postgres.Config) bool {
			return slices.Equal(main.Server.Hosts, []dial.Host{{Name: "a", Port: 5432}, {Name: "b", Port: 6000}, {Name: "::1", Port: 7000}, {Name: "/run/pg", Port: 5432}})
		}},
		"a password's file": {map[string]string{"pg_password_file": password}, func(main postgres.Config, _ *postgres.Config) bool {
			return main.Server.PasswordFile == password && main.Server.Password.Len() == 6
		}},
		"a standby as the other one": {
			map[string]string{"pg_ro_host": "c", "pg_port": "6000", "pg_user": "u", "pg_password_file": password, "pg_ssl_version": "tlsv1_3"},
			func(_ postgres.Config, ro *postgres.Config) bool {
				return ro.Server.Hosts[0] == (dial.Host{Name: "c", Port: 6000}) && ro.User == "u" && ro.Server.PasswordFile == password && ro.Server.MinVersion == tls.VersionTLS13 &&
					ro.Server.Verify && ro.Server.Target == dial.Any
			},
		},
		"a standby of its own": {
			map[string]string{"pg_ro_host": "c", "pg_ro_port": "7000", "pg_ro_user": "r", "pg_ro_ssl_verify": "off", "pg_ro_timeout": "1s", "pg_ro_pool_size": "3"},
			func(main postgres.Config, ro *postgres.Config) bool {
				return ro.Server.Hosts[0] == (dial.Host{Name: "c", Port: 7000}) && ro.User == "r" && !ro.Server.Verify && main.Server.Verify && ro.Timeout == time.Second && ro.PoolSize == 3
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s cpsettings.ControlPlane
			if _, err := settings.Load(&s, settings.Sources{Flags: test.flags}); err != nil {
				t.Fatal(err)
			}
			main, err := Postgres(s.Database.Postgres)
			if err != nil {
				t.Fatal(err)
			}
			ro, err := replica(s.Database.Postgres, s.Database.Replica)
			if err != nil || !test.check(main, ro) {
				t.Errorf("they come to %+v and %+v, %v", main, ro, err)
			}
		})
	}
}
