// Package cpsettings declares what keepgate-cp can be told at its start. Package settings reads it; the
// plane's own app gives it meaning.
package cpsettings

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
	"github.com/keepgate/keepgate/shared/settings/vaults"
)

// ControlPlane is every setting of keepgate-cp.
type ControlPlane struct {
	Process  settings.Process `section:"Process"`
	Database Database         `section:"Database"`
	Admin    Admin            `section:"Admin API"`
	Cluster  Cluster          `section:"Data planes"`
	Keyring  Keyring          `section:"Encryption"`
	Peers    Peers            `section:"Control plane nodes"`
	Audit    Audit            `section:"Audit"`
	License  License          `section:"License"`
	Vaults   vaults.Settings  `section:"Secret references"`

	StatusListen values.Listen `key:"status_listen" default:"127.0.0.1:8100" clear:"true" help:"Where health, readiness and metrics are served."`
}

// Fetch implements [settings.Fetcher].
func (s *ControlPlane) Fetch(ctx context.Context, loaded *settings.Loaded) error {
	return s.Vaults.Fetch(ctx, loaded, s.Database.Postgres.Roots)
}

// Database is where the configuration is kept.
type Database struct {
	Engine          string        `key:"database" default:"sqlite" oneof:"sqlite|postgres" help:"Which database keeps the configuration. sqlite is one file, for one control plane node; postgres is for production."`
	SQLitePath      string        `key:"sqlite_path" default:"keepgate.db" path:"prefix" help:"The file of the embedded database; a relative path lies below the prefix."`
	UpdateFrequency time.Duration `key:"db_update_frequency" default:"5s" unit:"s" min:"100ms" help:"How often the history is polled for changes that no hint announced."`
	Postgres        Postgres      `section:"PostgreSQL"`
	Replica         Replica       `section:"PostgreSQL read replica"`
}

// Admin is the Admin API.
type Admin struct {
	Listen         values.Listen `key:"admin_listen" default:"127.0.0.1:8001, 127.0.0.1:8444 http2 ssl" help:"Where the Admin API is served. What other machines can reach needs enforce_rbac, and ssl."`
	SSLCert        string        `key:"admin_ssl_cert" path:"file" help:"The certificate of the ssl listeners (PEM file); without one a self-signed one is made at the first start."`
	SSLKey         string        `key:"admin_ssl_cert_key" path:"file" help:"The private key of admin_ssl_cert (PEM file)."`
	SSLClientCA    string        `key:"admin_ssl_client_ca" path:"file" help:"The authorities (PEM file) one of which must have signed the certificate that a client of the ssl listeners shows. Empty asks for none. A token is asked for beside it."`
	SSLClientCRL   string        `key:"admin_ssl_client_crl" path:"file" help:"Lists of revoked certificates (PEM file or one list in DER), one of every authority of admin_ssl_client_ca. A client whose authority has no list, or one out of date, is refused."`
	TokenFile      string        `key:"admin_token_file" default:"admin.token" path:"prefix" help:"The token of this machine, made at the first start with mode 0600: revealing, exporting and recovering ask callers elsewhere for it. With enforce_rbac it is for /rbac and /keyring, from this machine alone."`
	AllowedHosts   []string      `key:"admin_allowed_hosts" help:"Host names under which the Admin API may be called, beside the loopback names."`
	AllowedOrigins []string      `key:"admin_allowed_origins" help:"Web origins whose pages may call the Admin API."`
	EnforceRBAC    bool          `key:"enforce_rbac" default:"off" help:"Ask every caller for a token, and let each do what their roles say."`
	RBACHeader     string        `key:"rbac_auth_header" default:"Kong-Admin-Token" help:"The header in which a caller's token is, beside Keepgate-Admin-Token and Authorization: Bearer."`
	FirstToken     string        `key:"rbac_first_token_file" default:"rbac-first.token" path:"prefix" help:"Where a start with enforce_rbac, while there is no user, leaves the token that makes the first one, once (mode 0600)."`
	HeaderNames    string        `key:"header_names" default:"keepgate" oneof:"keepgate|kong|both" help:"Whether headers that the gateway adds are named after Keepgate (X-Keepgate-…), after Kong (X-Kong-…), or both."`
}

// Cluster is the control plane's end of the connection to its data planes.
type Cluster struct {
	settings.Cluster
	Listen      values.Listen `key:"cluster_listen" default:"0.0.0.0:8005" help:"Where data planes and keepgate-kms connect. It always speaks mutual TLS."`
	Advertise   []string      `key:"cluster_advertise" help:"The host:port under which data planes reach cluster_listen, of every node: keepgate-cp fleet invite names them. Empty means this host's name and the port of cluster_listen."`
	PurgeDelay  time.Duration `key:"cluster_data_plane_purge_delay" default:"14d" unit:"s" min:"60s" help:"How long a data plane that is gone stays in the list."`
	CommonNames []string      `key:"cluster_allowed_common_names" help:"With cluster_mtls = pki_check_cn: the common names that a data plane's certificate may have. Empty means those whose parent domain is that of the common name of cluster_cert."`
	OCSP        string        `key:"cluster_ocsp" default:"off" oneof:"on|off|optional" help:"Ask the responder that a data plane's certificate names (OCSP) whether it was revoked: on lets nobody in of whom it is not known, optional lets in when nobody answers. Not with cluster_mtls = shared."`
	Validity    time.Duration `key:"cluster_certificate_validity" default:"30d" unit:"s" min:"30s" help:"How long the certificates are valid that data planes get by joining; they renew them when two thirds have passed."`
	KMSAudit    bool          `key:"kms_audit" default:"on" help:"Write every wrap and unwrap for Kubernetes into the journal before it is answered."`
}

// Keyring is the encryption of the database.
type Keyring struct {
	Enabled           bool         `key:"keyring_enabled" default:"off" help:"Encrypt secrets in the database."`
	Strategy          string       `key:"keyring_strategy" oneof:"local|cluster|vault|kms" help:"Where keys live: local wraps them by keyring_local_key_file, cluster holds them in memory alone, vault reads them from HashiCorp Vault or OpenBao, kms wraps them by a Kubernetes KMS plugin. Empty means local with sqlite and cluster with postgres."`
	LocalKeyFile      string       `key:"keyring_local_key_file" default:"keyring.key" path:"prefix" help:"The file that strategy local wraps the keys with; made at the first start with mode 0600. Who has it and the database has the secrets."`
	MigratePlaintext  bool         `key:"keyring_migrate_plaintext" default:"off" help:"Let a database that was used without a keyring get one: its plaintext stays readable until each value has been written again."`
	DecryptAll        bool         `key:"keyring_decrypt_all" default:"off" help:"Write secrets in clear and go on reading sealed ones, so that a re-encryption to plaintext can end the encryption of this database. Set it on every node."`
	RevealGenerated   bool         `key:"keyring_reveal_generated" default:"on" help:"Answer POST /keyring/generate with the key itself, as Kong does. off never shows a key."`
	EncryptLicense    bool         `key:"keyring_encrypt_license" default:"off" help:"Seal licenses in the database; such a license waits for the keyring at a start."`
	PublicKey         string       `key:"keyring_public_key" help:"Deprecated, use keyring_recovery_public_key: an RSA public key (PEM file, PEM text, or that in base64) that exported keys are encrypted to."`
	PrivateKey        secret.Bytes `key:"keyring_private_key" names:"file" help:"Deprecated: the private key of keyring_public_key (PEM file, readable by this user alone, or PEM text), which opens exported keys for an import."`
	BlobPath          string       `key:"keyring_blob_path" path:"file" help:"For tests: a file in which the keys are kept, encrypted to keyring_public_key, and found again at a start with keyring_private_key."`
	RecoveryPublicKey string       `key:"keyring_recovery_public_key" help:"An RSA public key or certificate (PEM file, PEM text, or that in base64) that the keys are encrypted to, so that its private key can bring them back."`

	VaultHost             string          `key:"keyring_vault_host" help:"Where HashiCorp Vault or OpenBao is, for strategy vault: https://host:port."`
	VaultMount            string          `key:"keyring_vault_mount" default:"secret" help:"The mount of the key-value store, version 2."`
	VaultPath             string          `key:"keyring_vault_path" help:"The path of the secret whose versions are the keys: each with the fields id and key."`
	VaultAuthMethod       string          `key:"keyring_vault_auth_method" default:"token" oneof:"token|kubernetes" help:"How to log in: with keyring_vault_token, or with the token of a Kubernetes service account."`
	VaultToken            secret.Bytes    `key:"keyring_vault_token" file:"VaultTokenFile" source:"VaultTokenSource" late:"true" help:"The token for auth method token. It needs read and list on the path, and nothing else. Its file is read again for every login, and may be written after the start."`
	VaultTokenFile        string          `key:"-"`
	VaultTokenSource      settings.Source `key:"-"`
	VaultKubeRole         string          `key:"keyring_vault_kube_role" default:"default" help:"The role to log in as with auth method kubernetes."`
	VaultKubeTokenFile    string          `key:"keyring_vault_kube_api_token_file" default:"/run/secrets/kubernetes.io/serviceaccount/token" path:"file" help:"The file that holds the service account's token; it is read for every login."`
	VaultTrustedCert      string          `key:"keyring_vault_ssl_trusted_certificate" path:"file" help:"A PEM file of the authorities that Vault's certificate is verified against. Empty means those of the system."`
	VaultPoll             time.Duration   `key:"keyring_vault_poll" default:"0s" unit:"s" min:"0s" help:"How often to look for new versions in Vault, with jitter. 0 means at the start and when POST /keyring/vault/sync asks for it."`
	KMSEndpoint           string          `key:"keyring_kms_endpoint" help:"The socket of the Kubernetes KMS plugin that wraps the keys, for strategy kms: unix:///path or unix:///@abstract."`
	KMSAPIVersion         string          `key:"keyring_kms_api_version" default:"v2" oneof:"v2|v1" help:"Which KMS API the plugin speaks. v1 needs feature_gates = KMSv1=true."`
	KMSTimeout            time.Duration   `key:"keyring_kms_timeout" default:"3s" unit:"s" min:"100ms" help:"How long one call of the plugin may take."`
	ProviderConfig        string          `key:"encryption_provider_config" path:"file" help:"A Kubernetes EncryptionConfiguration file: which providers encrypt which tables, and in which order. Empty means the keyring alone, where it is enabled."`
	ProviderConfigReload  bool            `key:"encryption_provider_config_automatic_reload" default:"off" help:"Look at encryption_provider_config every minute and take what has changed once its providers are healthy."`
	FeatureGates          string          `key:"feature_gates" help:"What Kubernetes keeps behind a gate, as it writes them: KMSv1=true lets providers use the deprecated KMS v1 API."`
	AllowUnboundProviders bool            `key:"allow_unbound_providers" default:"off" help:"Let aescbc and secretbox write. Their values are bound to no place: one copied to another row opens there. They are always read."`
}
