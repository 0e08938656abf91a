package app

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

func TestVaultSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		edit    func(k *cpsettings.Keyring)
		setting string // that is wrong
	}{
		"right":          {func(*cpsettings.Keyring) {}, ""},
		"no host":        {func(k *cpsettings.Keyring) { k.VaultHost = "" }, "keyring_vault_host"},
		"in clear":       {func(k *cpsettings.Keyring) { k.VaultHost = "http://vault.example.com:8200" }, "keyring_vault_host"},
		"no path":        {func(k *cpsettings.Keyring) { k.VaultPath = "" }, "keyring_vault_path"},
		"a recovery key": {func(k *cpsettings.Keyring) { k.RecoveryPublicKey = "recovery.pem" }, "keyring_recovery_public_key"},
		"a blob":         {func(k *cpsettings.Keyring) { k.BlobPath = "keys.blob" }, "keyring_blob_path"},
	} {
		var s cpsettings.ControlPlane
		s.Keyring = cpsettings.Keyring{
			Enabled: true, Strategy: "vault", VaultHost: "https://vault.example.com:8200", VaultMount: "secret", VaultPath: "team/keys", VaultAuthMethod: "token",
		}
		test.edit(&s.Keyring)
		_, err := vaultKeeper(s)
		if (err == nil) != (test.setting == "") || (err != nil && (fault.KindOf(err) != fault.Invalid || fault.SubjectOf(err) != test.setting)) {
			t.Errorf("%s: %v, want %q", name, err, test.setting)
		}
		if checked := Check(s); err != nil && (checked == nil || !strings.Contains(checked.Error(), test.setting)) {
			t.Errorf("%s: Check = %v", name, checked)
		}
	}
}
