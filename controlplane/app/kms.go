package app

import (
	"io"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/encryption/providerconfig"
	"github.com/keepgate/keepgate/controlplane/keyring/kms"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/settings/cpsettings"
)

// keyringProvider is the name under which the plugin of keyring_strategy = kms wraps: frozen, as what it wrapped
// opens under no other.
const keyringProvider = "keyring"

// kmsKeeper is strategy kms as the settings have it. observe hears of each call; nil: nobody does.
func kmsKeeper(s cpsettings.ControlPlane, log *slog.Logger, observe func(method, code string, took time.Duration)) (*kms.Keeper, error) {
	k := s.Keyring
	for setting, value := range map[string]string{"keyring_recovery_public_key": k.RecoveryPublicKey, "keyring_blob_path": k.BlobPath} {
		if value != "" {
			return nil, fault.Newf(fault.Invalid, "app.Run", setting, "keyring_strategy = kms keeps the keys in the database, wrapped by the plugin alone: take it out, and back up both")
		}
	}
	if k.KMSEndpoint == "" {
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_kms_endpoint", "keyring_strategy = kms needs the socket of the KMS plugin: write unix:///path/of/the/socket")
	}
	client := kmsclient.Options{Name: keyringProvider, Endpoint: k.KMSEndpoint, Timeout: k.KMSTimeout, Log: log, Observe: observe}
	plugin, err := kmsPlugin(client, k.KMSAPIVersion, k.FeatureGates)
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_kms_endpoint", "%s", fault.Text(err))
	}
	return kms.New(keyringProvider, plugin, kms.Options{Endpoint: k.KMSEndpoint, Log: log}), nil
}

func kmsPlugin(client kmsclient.Options, version, gates string) (kms.Plugin, error) {
	if version != "v1" {
		return kmsclient.NewV2(client)
	}
	enabled, err := providerconfig.ParseGates(gates)
	if err != nil {
		return nil, err
	}
	if !enabled.KMSv1 {
		return nil, fault.Newf(fault.Invalid, "app.Run", "keyring_kms_api_version", "version 1 of the KMS API is deprecated and off: write v2, or set feature_gates = KMSv1=true for a plugin that speaks nothing else")
	}
	plugin, err := kmsclient.NewV1(client)
	if err != nil {
		return nil, err
	}
	return kms.V1(client.Name, plugin), nil
}

// checkKeeper finds faults in what the settings say of the strategy.
func checkKeeper(s cpsettings.ControlPlane) error {
	keeper, err := keeperOf(s, slog.New(slog.DiscardHandler), nil)
	if closer, ok := keeper.(io.Closer); ok && err == nil {
		err = closer.Close()
	}
	return err
}

// rewrapper is the ring of a KMS provider, or for "" the keyring; nil when there is none.
func (p *plane) rewrapper(provider string) keys.Rewrapper {
	if provider != "" {
		if ring := p.peers.rings.all()["kms/"+provider]; ring != nil {
			return ring
		}
	} else if p.ring != nil {
		return p.ring
	}
	return nil
}
