package app

import (
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// vaultKeeper is strategy vault as the settings have it.
func vaultKeeper(s cpsettings.ControlPlane) (*vault.Keeper, error) {
	k := s.Keyring
	for setting, value := range map[string]string{"keyring_recovery_public_key": k.RecoveryPublicKey, "keyring_blob_path": k.BlobPath} {
		if value != "" {
			return nil, fault.Newf(fault.Invalid, "app.Run", setting, "keyring_strategy = vault keeps the keys in Vault alone: take it out, and back Vault up")
		}
	}
	options := vault.Options{
		Server: vaultclient.Options{Address: k.VaultHost, CAFile: k.VaultTrustedCert}, Mount: k.VaultMount, Path: k.VaultPath,
		Auth: k.VaultAuthMethod, Token: k.VaultToken, TokenFile: k.VaultTokenFile, KubeRole: k.VaultKubeRole, KubeTokenFile: k.VaultKubeTokenFile, Poll: k.VaultPoll,
	}
	if k.VaultTokenSource != nil {
		options.TokenSource = k.VaultTokenSource.Newest
	}
	return vault.New(options)
}
