package settings_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// What protects nothing here must not be taken: its operator would count on it.
func TestPromisesThatAreNotKeptStop(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		refused bool
		warns   bool
	}{
		"fips = on":                           {refused: true},
		"lua_ssl_protocols = TLSv1.3":         {refused: true},
		"lua_ssl_protocols = TLSv1.2 TLSv1.3": {},
		"lua_ssl_protocols = TLSv1.1 TLSv1.2": {warns: true},
		"pg_max_concurrent_queries = 5":       {refused: true},
		"pg_max_concurrent_queries = 0":       {},
		"pg_semaphore_timeout = 100":          {refused: true},
		"pg_ro_backlog = 16":                  {refused: true},
		"audit_log = on":                      {warns: true}, // the other plane's
		"status_listen = 127.0.0.1:0 ssl":     {refused: true},
		"status_listen = 127.0.0.1:0":         {},
	}
	for line, test := range tests {
		for _, file := range []string{"kong.conf", "keepgate.conf"} {
			var into struct {
				sample
				Enabled bool          `key:"keyring_enabled" help:"h"`
				Cert    string        `key:"cluster_cert" help:"h"`
				Pool    int           `key:"pg_pool_size" help:"h"`
				Status  values.Listen `key:"status_listen" clear:"true" help:"h"`
			}
			loaded, err := settings.Load(&into, settings.Sources{File: write(t, file, line+"\n")})
			if refused := fault.KindOf(err) == fault.Invalid && strings.Contains(err.Error(), "not available"); refused != test.refused || !refused && err != nil {
				t.Errorf("%s in %s: Load = %v, want refused %v", line, file, err, test.refused)
			}
			if err == nil && (len(loaded.Warnings) > 0) != test.warns {
				t.Errorf("%s in %s warns %q, want a warning: %v", line, file, loaded.Warnings, test.warns)
			}
		}
	}
}

// A private key where the public one belongs must not reach the log of effective settings.
func TestPrivateKeysAreRefusedUnseen(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN PRIVATE KEY-----\nTUlJRXZnSUJBREFO\n-----END PRIVATE KEY-----\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(key))
	for name, text := range map[string]string{
		"PEM": key, "base64": encoded, "base64 in lines": encoded[:60] + "\n" + encoded[60:] + "\n", "of RSA": strings.ReplaceAll(key, "PRIVATE", "RSA PRIVATE"),
	} {
		var into struct {
			Recovery string   `key:"keyring_recovery_public_key" help:"h"`
			Trusted  []string `key:"ssl_trusted_certificate" kong:"lua_ssl_trusted_certificate" help:"h"`
		}
		for _, given := range []string{"KONG_KEYRING_RECOVERY_PUBLIC_KEY=" + text, "KONG_LUA_SSL_TRUSTED_CERTIFICATE=" + text, "KONG_LUA_SSL_TRUSTED_CERTIFICATE=system," + text} {
			_, err := settings.Load(&into, settings.Sources{Environ: []string{given}})
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "holds a private key") || strings.Contains(err.Error(), "TUlJ") || strings.Contains(err.Error(), encoded[:40]) {
				t.Errorf("%s: Load = %v, want it refused without the key", name, err)
			}
		}
	}
}
