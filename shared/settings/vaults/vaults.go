// Package vaults declares where {vault://…} references lead on a node, and looks up those that stand in its own settings.
package vaults

import (
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// Settings are the vaults of a node.
type Settings struct {
	EnvPrefix string `key:"vault_env_prefix" help:"Only environment variables that begin with it can be referred to; empty means none can."`
	Folder    string `key:"vault_file_folder" path:"file" help:"Only files below this folder can be referred to; empty means none can."`

	Protocol      string       `key:"vault_hcv_protocol" default:"https" oneof:"http|https" help:"How HashiCorp Vault or OpenBao is reached."`
	Host          string       `key:"vault_hcv_host" help:"Its host; empty where there is none, but those that vault entities name on a data plane."`
	Port          int          `key:"vault_hcv_port" default:"8200" min:"1" max:"65535" help:"Its port."`
	Namespace     string       `key:"vault_hcv_namespace" help:"Its namespace."`
	Mount         string       `key:"vault_hcv_mount" default:"secret" help:"The mount of its key-value store."`
	KV            string       `key:"vault_hcv_kv" default:"v1" oneof:"v1|v2" help:"The version of its key-value store."`
	AuthMethod    string       `key:"vault_hcv_auth_method" default:"token" oneof:"token|kubernetes" help:"How to log in."`
	Token         secret.Bytes `key:"vault_hcv_token" literal:"true" file:"TokenFile" late:"true" help:"The token for auth method token. Its file is read again for every login, and may be written after the start."`
	TokenFile     string       `key:"-"`
	KubeRole      string       `key:"vault_hcv_kube_role" default:"default" help:"The role to log in as with auth method kubernetes."`
	KubeAuthPath  string       `key:"vault_hcv_kube_auth_path" default:"kubernetes" help:"Where that auth method is mounted."`
	KubeTokenFile string       `key:"vault_hcv_kube_api_token_file" default:"/run/secrets/kubernetes.io/serviceaccount/token" path:"file" help:"The file that holds the service account's token; it is read for every login. Vault entities with auth method kubernetes use it too, on a data plane."`
	Hosts         []string     `key:"vault_hosts" help:"The hosts that vault entities may name on a data plane, and that a standby of vault_hcv_host may point to, as vault.example or *.vault.example. Empty means any, and for entities any that do not lead to this machine, its link or where a cloud gives out credentials."`
}

// Kubernetes is the auth method of service accounts.
const Kubernetes = "kubernetes"

// Check refuses what no reference could ever lead to. The fault is of kind fault.Invalid and names the setting.
func (s Settings) Check() error {
	if _, _, err := net.SplitHostPort(s.Host); err == nil || strings.ContainsAny(s.Host, "/@?# ") {
		return fault.Newf(fault.Invalid, "vaults.Check", "vault_hcv_host", "it is no host alone, as vault.example.com: the rest of the address is vault_hcv_protocol and vault_hcv_port")
	}
	if strings.HasPrefix(s.EnvPrefix, "KEEPGATE_") || strings.HasPrefix(s.EnvPrefix, "KONG_") {
		return fault.Newf(fault.Invalid, "vaults.Check", "vault_env_prefix", "variables that begin with %q configure this program, and no reference leads to them: take another beginning, as GATE_", s.EnvPrefix)
	}
	return nil
}

// Client reaches the server of vault_hcv_host. roots are the authorities of its certificate; nil means the system's.
func (s Settings) Client(roots *x509.CertPool) (*vaultclient.Client, error) {
	options := vaultclient.Options{
		Address: s.Protocol + "://" + net.JoinHostPort(strings.Trim(s.Host, "[]"), strconv.Itoa(s.Port)), Namespace: s.Namespace, Roots: roots,
	}
	if len(s.Hosts) > 0 {
		options.Follows = func(host string) bool { return secretbackend.Listed(s.Hosts, host) }
	}
	return vaultclient.New(options)
}

// Login makes a session with that server. A token that a file holds, and that of a service account, is read now.
func (s Settings) Login(ctx context.Context, client *vaultclient.Client) (*vaultclient.Session, error) {
	if s.AuthMethod == Kubernetes {
		return client.Kubernetes(ctx, s.KubeAuthPath, s.KubeRole, s.KubeTokenFile)
	}
	if s.TokenFile == "" {
		return client.WithToken(s.Token)
	}
	token, err := secretbackend.TokenFile(s.TokenFile)
	if err != nil {
		return nil, err
	}
	defer token.Wipe()
	return client.WithToken(token)
}
