package edgekeys

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	kms "k8s.io/kms/apis/v2"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// Opener opens keys that a KMS plugin or Vault's transit engine wrapped, and has keys wrapped. It connects for each and
// stays connected to nothing.
type Opener struct {
	keys  dpsettings.Keys
	vault dpsettings.References
	tls   dpsettings.Upstream
}

// NewOpener makes one of the settings.
func NewOpener(s dpsettings.DataPlane) *Opener { return &Opener{s.Keys, s.References, s.Upstream} }

// patience bounds all that one key takes of Vault.
const patience = 20 * time.Second

// OpenKey implements [scopedkeys.Opener].
func (o *Opener) OpenKey(ctx context.Context, wrapped string) (secret.Bytes, error) {
	if body, ok := strings.CutPrefix(wrapped, scopedkeys.KMSPrefix); ok {
		return o.openKMS(ctx, body)
	}
	var opened secret.Bytes
	err := o.transit(ctx, func(ctx context.Context, s *vaultclient.Session) (err error) {
		opened, err = s.TransitDecrypt(ctx, o.keys.TransitMount, o.keys.TransitKey, wrapped)
		return err
	})
	return opened, err
}

func (o *Opener) openKMS(ctx context.Context, body string) (secret.Bytes, error) {
	const op = "edgekeys.OpenKey"
	data, err := base64.StdEncoding.DecodeString(body)
	var answer kms.EncryptResponse
	if err != nil || proto.Unmarshal(data, &answer) != nil {
		return secret.Bytes{}, fault.Newf(fault.Invalid, op, "kms", "what follows %s is no answer of a KMS plugin to Encrypt", scopedkeys.KMSPrefix)
	}
	plugin, err := o.plugin()
	if err != nil {
		return secret.Bytes{}, err
	}
	defer plugin.Close()
	return plugin.Decrypt(ctx, kmsclient.Wrapped{KeyID: answer.KeyId, Ciphertext: answer.Ciphertext, Annotations: answer.Annotations})
}

func (o *Opener) plugin() (*kmsclient.V2, error) {
	if o.keys.KMSEndpoint == "" {
		return nil, fault.Newf(fault.Invalid, "edgekeys.OpenKey", "encryption_keys_kms_endpoint", "a key is wrapped by a KMS plugin: set it to the plugin's socket, as unix:///run/kms.sock")
	}
	return kmsclient.NewV2(kmsclient.Options{Name: "encryption_keys", Endpoint: o.keys.KMSEndpoint, Timeout: o.keys.KMSTimeout})
}

// WrapByKMS has the plugin wrap a key, as OpenKey opens it.
func (o *Opener) WrapByKMS(ctx context.Context, key secret.Bytes) (string, error) {
	plugin, err := o.plugin()
	if err != nil {
		return "", err
	}
	defer plugin.Close()
	wrapped, err := plugin.Encrypt(ctx, key)
	if err != nil {
		return "", err
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&kms.EncryptResponse{KeyId: wrapped.KeyID, Ciphertext: wrapped.Ciphertext, Annotations: wrapped.Annotations})
	if err != nil {
		return "", fmt.Errorf("encoding the plugin's answer: %w", err)
	}
	return scopedkeys.KMSPrefix + base64.StdEncoding.EncodeToString(data), nil
}

// WrapByVault has the transit engine wrap a key, as OpenKey opens it.
func (o *Opener) WrapByVault(ctx context.Context, key secret.Bytes) (wrapped string, err error) {
	err = o.transit(ctx, func(ctx context.Context, s *vaultclient.Session) (err error) {
		wrapped, err = s.TransitEncrypt(ctx, o.keys.TransitMount, o.keys.TransitKey, key)
		return err
	})
	return wrapped, err
}

// transit does something with the transit engine, logged in for that long.
func (o *Opener) transit(ctx context.Context, use func(context.Context, *vaultclient.Session) error) error {
	const op = "edgekeys.OpenKey"
	if o.keys.TransitKey == "" || o.vault.Host == "" {
		return fault.Newf(fault.Invalid, op, "encryption_keys_vault_key", "a key is wrapped by Vault: set it to the name of the transit key, and vault_hcv_host to where Vault is")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	roots, err := o.tls.Roots()
	if err != nil {
		return err
	}
	client, err := o.vault.Client(roots)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := o.vault.Login(ctx, client)
	if err != nil {
		return err
	}
	err = use(ctx, session)
	_ = session.Close(ctx) // its time to live ends it too
	return err
}
