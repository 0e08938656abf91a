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
		"the Admin API for everybody": {map[string]string{"admin_listen": "0.0.0.0:8001"}, "enforce_rbac"},
		"a proxy protocol":            {map[string]string{"admin_listen": "127.0.0.1:1 proxy_protocol"}, "proxy_protocol"},
		"roles":                       {map[string]string{"enforce_rbac": "on"}, "not available"},
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
