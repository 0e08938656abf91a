package vaults

import (
	"context"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretbackend"
	"github.com/keepgate/keepgate/shared/vaultclient"
)

// The vaults that settings can refer to.
const (
	kindEnv  = "env"
	kindFile = "file"
	kindHCV  = "hcv"
)

func (f *fetching) backend(vault string) (secretbackend.Backend, problem) {
	if backend, open := f.backends[vault]; open {
		return backend, problem{}
	}
	wrong, known := f.wrong[vault]
	if known {
		return nil, wrong
	}
	backend, wrong := f.open(vault)
	if wrong.said != "" {
		f.wrong[vault] = wrong
		return nil, wrong
	}
	f.backends[vault] = backend
	return backend, problem{}
}

func (f *fetching) open(vault string) (secretbackend.Backend, problem) {
	s := f.settings
	switch vault {
	case kindEnv:
		if s.EnvPrefix == "" {
			return nil, problem{"vault_env_prefix is empty, so that no variable can be referred to", "set it to what the names of such variables begin with, as GATE_"}
		}
		return secretbackend.Variables(s.EnvPrefix, f.look), problem{}
	case kindFile:
		if s.Folder == "" {
			return nil, problem{"vault_file_folder is empty, so that no file can be referred to", "set it to the folder of such files"}
		}
		return secretbackend.Files(s.Folder, nil, nil), problem{}
	case kindHCV:
		return f.server()
	}
	return nil, problem{"it refers to a vault that this node does not have", "settings know env, file and hcv; vaults of the configuration are for its entities"}
}

func (f *fetching) server() (secretbackend.Backend, problem) {
	s := f.settings
	switch {
	case s.Host == "":
		return nil, problem{"vault_hcv_host is empty", "set it to where HashiCorp Vault or OpenBao is"}
	case s.AuthMethod != Kubernetes && s.TokenFile == "" && s.Token.Len() == 0:
		return nil, problem{"vault_hcv_token is not set", "set vault_hcv_token_file, or vault_hcv_auth_method = kubernetes"}
	}
	roots, err := f.roots()
	if err != nil {
		return nil, problem{fault.Text(err), "mend ssl_trusted_certificate"}
	}
	if err := vaultclient.CheckPath(s.Mount); err != nil {
		return nil, problem{"vault_hcv_mount: " + secretbackend.FailureOf(err), "name the mount of the key-value store"}
	}
	if err := vaultclient.CheckPath(s.KubeAuthPath); err != nil && s.AuthMethod == Kubernetes {
		return nil, problem{"vault_hcv_kube_auth_path: " + secretbackend.FailureOf(err), "name the mount of the auth method"}
	}
	client, err := s.Client(roots)
	if err != nil {
		return nil, problem{"its vault hcv: " + secretbackend.FailureOf(err), "mend vault_hcv_host and vault_hcv_namespace"}
	}
	login := func(ctx context.Context) (*vaultclient.Session, error) { return s.Login(ctx, client) }
	return secretbackend.Vault(client, s.Mount, s.KV == "v2", login), problem{}
}
