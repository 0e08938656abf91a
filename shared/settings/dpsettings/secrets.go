package dpsettings

import (
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings/values"
	"github.com/keepgate/keepgate/shared/settings/vaults"
)

// Keys are the scoped keys: what the local store and the cache are sealed by beside, or instead of, keys derived from the
// node's own.
type Keys struct {
	File   string `key:"encryption_keys" path:"file" help:"A YAML file of scoped keys (defaults, org, envs); another one is used without a restart, and what former keys have sealed is written again."`
	Folder string `key:"encryption_keys_folder" path:"file" help:"A folder with one scoped key a file, named as org.kmsEncryptionKey or env.cacheEncryptionKey: a mounted Secret of Kubernetes."`
	Strict bool   `key:"encryption_keys_strict" default:"off" help:"Refuse keys that are typed text or are written in a base64 that no encoder makes, instead of warning."`

	Contract secret.Bytes `key:"encryption_key_contract" help:"The organisation's key for routes, services and plugins: 16, 24 or 32 bytes in base64."`
	KMS      secret.Bytes `key:"encryption_key_kms" help:"The organisation's key for credentials and certificates, in base64."`
	KVM      secret.Bytes `key:"encryption_key_kvm" help:"The organisation's key for key-value maps, in base64."`
	EnvKVM   secret.Bytes `key:"encryption_key_env_kvm" help:"The environment's key for its own key-value maps, in base64."`
	EnvCache secret.Bytes `key:"encryption_key_env_cache" help:"The environment's key for responses that proxy-cache keeps on the disk, in base64."`

	KMSEndpoint  string        `key:"encryption_keys_kms_endpoint" help:"The socket of the Kubernetes KMS plugin (v2) that opens scoped keys written as kms:v2:…: unix:///path or unix:///@abstract."`
	KMSTimeout   time.Duration `key:"encryption_keys_kms_timeout" default:"3s" unit:"s" min:"100ms" help:"How long one call of that plugin may take."`
	TransitMount string        `key:"encryption_keys_vault_mount" default:"transit" help:"The mount of the transit engine of the Vault of vault_hcv_host that opens scoped keys written as vault:v1:…."`
	TransitKey   string        `key:"encryption_keys_vault_key" help:"The name of the transit key that opens them."`
	RefusesClear bool          `key:"declarative_config_encryption_strict" default:"off" help:"Refuse a local store that holds anything in clear, instead of reading and sealing it."`
	Lease        time.Duration `key:"secrets_lease" default:"0s" unit:"s" min:"0s" help:"For how long secrets are used without a link to the control plane; then they are locked and what needs one answers 503 until there is a link. 0 means for ever."`
}

// References are where {vault://…} references on this node lead, and how long what they lead to is known.
type References struct {
	vaults.Settings
	TTL          time.Duration `key:"vault_ttl" default:"5s" unit:"s" min:"1s" help:"How often variables and files that are referred to are read again."`
	HCVTTL       time.Duration `key:"vault_hcv_ttl" default:"60s" unit:"s" min:"1s" help:"How long a value is used before it is asked for again."`
	NegativeTTL  time.Duration `key:"vault_hcv_neg_ttl" default:"10s" unit:"s" min:"0s" help:"How long a secret that is not there is taken for absent."`
	ResurrectTTL time.Duration `key:"vault_hcv_resurrect_ttl" default:"24h" unit:"s" min:"0s" help:"How long a value goes on being used while it cannot be asked for; 0 means for ever."`
}

// Cache is where the plugin proxy-cache keeps responses.
type Cache struct {
	Memory   values.Size `key:"proxy_cache_memory_size" default:"64m" help:"How much memory responses may take; the least recently used give way."`
	Disk     values.Size `key:"proxy_cache_disk_size" default:"1g" help:"How much of the disk responses may take under strategy disk; the least recently used give way."`
	Folder   string      `key:"proxy_cache_folder" default:"cache" path:"prefix" help:"The folder of strategy disk. What lies there is sealed by the environment's cache key."`
	MaxEntry values.Size `key:"proxy_cache_max_entry_size" default:"8m" help:"The largest response that is kept."`
}
