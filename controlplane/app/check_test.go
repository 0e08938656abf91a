package app_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/app"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		flags   map[string]string
		refused string // part of what is said; "" where it is fine
	}{
		"the defaults": {},
		"a recovery key that would keep nothing": {
			map[string]string{"keyring_enabled": "on", "keyring_recovery_public_key": "/recovery.pem"}, "keeps no copy of the keys",
		},
		"a recovery key that is not there": {
			map[string]string{"keyring_enabled": "on", "keyring_strategy": "cluster", "keyring_recovery_public_key": "/no/recovery.pem"}, "no such file",
		},
		"the Admin API for everybody":           {map[string]string{"admin_listen": "0.0.0.0:8001"}, "enforce_rbac"},
		"a proxy protocol":                      {map[string]string{"admin_listen": "127.0.0.1:1 proxy_protocol"}, "proxy_protocol"},
		"verifying a server without TLS":        {map[string]string{"database": "postgres", "pg_ssl": "off", "pg_ssl_verify": "on"}, "pg_ssl_verify needs pg_ssl = on"},
		"requiring what is off":                 {map[string]string{"database": "postgres", "pg_ssl": "off", "pg_ssl_required": "on"}, "pg_ssl_required needs pg_ssl = on"},
		"a client certificate in clear":         {map[string]string{"database": "postgres", "pg_ssl": "off", "pg_ssl_cert": "/c.pem"}, "pg_ssl_cert needs pg_ssl = on"},
		"revocation in clear":                   {map[string]string{"database": "postgres", "pg_ssl": "off", "pg_ssl_crl_file": "/c.pem"}, "pg_ssl_crl_file needs pg_ssl = on"},
		"a database in clear":                   {flags: map[string]string{"database": "postgres", "pg_ssl": "off"}},
		"a certificate without its key":         {map[string]string{"database": "postgres", "pg_ssl_cert": "/c.pem"}, "pg_ssl_cert needs pg_ssl_cert_key"},
		"a relative path":                       {map[string]string{"database": "postgres", "pg_ssl_cert": "c.pem", "pg_ssl_cert_key": "/c.key"}, `pg_ssl_cert needs an absolute path, not "c.pem"`},
		"a relative path of authorities":        {map[string]string{"database": "postgres", "ssl_trusted_certificate": "system,ca.pem"}, `ssl_trusted_certificate needs absolute paths, not "ca.pem"`},
		"authorities that are not there":        {map[string]string{"database": "postgres", "ssl_trusted_certificate": "system,/no/ca.pem"}, "ssl_trusted_certificate: open /no/ca.pem"},
		"lists that nobody looks at":            {map[string]string{"database": "postgres", "pg_ssl_crl_file": "/c.pem", "pg_ssl_verify": "off"}, "pg_ssl_crl_file needs pg_ssl_verify = on"},
		"hosts":                                 {flags: map[string]string{"database": "postgres", "pg_host": "a.example, b.example:5433, [::1]:5434, ::1, /run/postgresql"}},
		"no host":                               {map[string]string{"database": "postgres", "pg_host": "a.example:x"}, `"a.example:x" is no host:port`},
		"verifying over TLS":                    {flags: map[string]string{"database": "postgres", "pg_ssl": "on", "pg_ssl_verify": "on"}},
		"TLS of a database not in use":          {flags: map[string]string{"pg_ssl_verify": "on"}},
		"credentials that are not there":        {map[string]string{"database": "postgres", "nats_url": "nats://n:4222", "nats_credentials_file": "/no/n.creds"}, "nats_credentials_file: /no/n.creds"},
		"a seed that is not there":              {map[string]string{"database": "postgres", "nats_url": "nats://n:4222", "nats_nkey_file": "/no/n.nk"}, "nats_nkey_file: /no/n.nk"},
		"credentials of an embedded server":     {flags: map[string]string{"database": "postgres", "nats_credentials_file": "/no/n.creds"}},
		"routes over IPv6":                      {flags: map[string]string{"database": "postgres", "nats_cluster_listen": "[::1]:8006", "nats_cluster_routes": "[2001:db8::1]:8006, [2001:db8::2]:8006", "nats_cluster_advertise": "[2001:db8::3]:8006"}},
		"a route over IPv6 without brackets":    {map[string]string{"database": "postgres", "nats_cluster_routes": "2001:db8::1:8006"}, "nats_cluster_routes: "},
		"an address over IPv6 without a port":   {map[string]string{"database": "postgres", "nats_cluster_advertise": "2001:db8::1"}, "nats_cluster_advertise: "},
		"a listener over IPv6 without brackets": {map[string]string{"database": "postgres", "nats_cluster_listen": "::1:8006"}, "nats_cluster_listen: "},
		"cluster certificates not there": {
			map[string]string{"cluster_cert": "/no/cp.crt", "cluster_cert_key": "/no/cp.key", "cluster_ca_cert": "/no/ca.crt"}, "/no/cp.crt",
		},
		"an Admin API certificate not there":    {map[string]string{"admin_ssl_cert": "/no/a.crt", "admin_ssl_cert_key": "/no/a.key"}, "/no/a.crt"},
		"half of an Admin API certificate":      {map[string]string{"admin_ssl_cert": "/no/a.crt"}, "set both or none"},
		"roles":                                 {flags: map[string]string{"enforce_rbac": "on"}},
		"roles, and the API for everybody":      {flags: map[string]string{"enforce_rbac": "on", "admin_listen": "0.0.0.0:8444 ssl"}},
		"tokens in clear":                       {map[string]string{"enforce_rbac": "on", "admin_listen": "0.0.0.0:8001"}, "add ssl to it"},
		"client authorities that are not there": {map[string]string{"admin_ssl_client_ca": "/no/ca.pem"}, "/no/ca.pem"},
		"a header that means something else":    {map[string]string{"rbac_auth_header": "Authorization"}, "cannot be the header of tokens"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s cpsettings.ControlPlane
			if _, err := settings.Load(&s, settings.Sources{Flags: test.flags}); err != nil {
				t.Fatal(err)
			}
			err := app.Check(s)
			if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Fatalf("Check = %v, want %q", err, test.refused)
			}
			if kind := fault.KindOf(err); err != nil && kind != fault.Invalid {
				t.Errorf("Check = %v, want kind invalid", err)
			}
		})
	}
}
